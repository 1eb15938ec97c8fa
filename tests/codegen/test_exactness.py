# SPDX-License-Identifier: Apache-2.0
"""The generated C computes what the interpreter computes: every tensor of every layer, on this machine."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from plinio_deploy.artifact import Artifact
from plinio_deploy.network import Flavour
from tests.codegen.harness import STRICT, Case, check_case, check_cases, compile_c, gcc, make_case
from tests.networks import NETWORKS, digits_cnn, random_network

pytestmark = pytest.mark.host

FLAVOURS: tuple[Flavour, ...] = ("hi32", "tflite")
RANDOM = int(os.environ.get("PLINIO_DEPLOY_RANDOM_NETWORKS", "48"))
"""How many random networks to try; more in long runs."""
BATCH = 12


def fixed_cases(samples: int = 4) -> dict[str, Case]:
    return {
        f"{name}_{flavour}": make_case(make(flavour), f"{name}_{flavour}", samples)
        for name, make in NETWORKS.items()
        for flavour in FLAVOURS
    }


def test_fixed_networks_in_both_flavours(tmp_path: Path) -> None:
    cases = fixed_cases()
    check_cases(cases, tmp_path)


@pytest.mark.parametrize("first", range(0, RANDOM, BATCH))
def test_random_networks(first: int, tmp_path: Path) -> None:
    cases = {f"r{seed}": make_case(random_network(seed), f"r{seed}") for seed in range(first, first + BATCH)}
    check_cases(cases, tmp_path)


def test_a_wrong_weight_is_noticed_by_trace_and_self_test(tmp_path: Path) -> None:
    case = make_case(digits_cnn())
    text = case.artifact.files["net_weights.c"].decode()
    start = text.index("_b[", text.index("linear9")) if "linear9_b[" in text else text.rindex("_b[")
    brace = text.index("{", start) + 1
    number = text[brace:].lstrip().split(",")[0]
    damaged = text[:brace] + text[brace:].replace(number, str(int(number) ^ (1 << 27)), 1)
    wrong = Artifact({**case.artifact.files, "net_weights.c": damaged.encode()})
    wrong.write(tmp_path / "net")
    sources = [*case.manifest.sources, *case.manifest.trace_sources, *case.manifest.selftest_sources]
    library = tmp_path / "wrong.so"
    paths = [str(tmp_path / "net" / name) for name in sources]
    compile_c([gcc(), *STRICT, "-O1", "-shared", "-fPIC", "-o", str(library), *paths])
    loaded = ctypes.CDLL(str(library))
    with pytest.raises(AssertionError, match="linear"):
        check_case(loaded, "net", case)
    first = ctypes.c_int32(-1)
    arena = ctypes.create_string_buffer(case.manifest.arena_bytes)
    assert loaded.net_selftest(arena, ctypes.byref(first)) > 0
    assert 0 <= first.value < len(case.inputs) * case.manifest.output_bytes


DRIVER = """
#include <stdlib.h>
#include <string.h>
#include "PREFIX_trace.h"
#include "PREFIX_selftest.h"
#include "PREFIX_vectors.h"

/* Every buffer is a heap block of its exact size, so that any access outside is seen. */
static uint8_t *block(size_t size, const uint8_t *from)
{
    uint8_t *memory = malloc(size);
    if (memory != NULL && from != NULL) {
        memcpy(memory, from, size);
    }
    return memory;
}

int main(void)
{
    int bad = 0;
    for (uint32_t s = 0; s < MACRO_VECTORS; s++) {
        uint8_t *arena = block(MACRO_ARENA_BYTES, NULL);
        uint8_t *input = block(MACRO_INPUT_BYTES, PREFIX_vector_inputs + s * MACRO_INPUT_BYTES);
        uint8_t *output = block(MACRO_OUTPUT_BYTES, NULL);
        for (uint32_t i = 0; i < MACRO_STEPS; i++) {
            PREFIX_step(i, arena, input, output);
        }
        bad |= memcmp(output, PREFIX_vector_outputs + s * MACRO_OUTPUT_BYTES, MACRO_OUTPUT_BYTES);
        free(arena);
        free(input);
        free(output);
    }
    uint8_t *arena = block(MACRO_ARENA_BYTES, NULL);
    bad |= PREFIX_selftest(arena, NULL);
    free(arena);
    return bad != 0;
}
"""


def run_sanitized(prefix: str, case: Case, folder: Path) -> None:
    case.artifact.write(folder)
    (folder / "driver.c").write_text(DRIVER.replace("PREFIX", prefix).replace("MACRO", prefix.upper()))
    manifest = case.manifest
    sources = [*manifest.sources, *manifest.trace_sources, *manifest.selftest_sources, "driver.c"]
    flags = ["-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = folder / "driver"
    compile_c([gcc(), *flags, "-o", str(program), *(str(folder / name) for name in sources)])
    environ = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    result = subprocess.run([str(program)], capture_output=True, text=True, env=environ, timeout=60)
    assert result.returncode == 0, f"{case.network.name}: {result.stderr[:2000]}"


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", NETWORKS)
def test_fixed_networks_under_sanitizers(name: str, flavour: Flavour, tmp_path: Path) -> None:
    run_sanitized("net", make_case(NETWORKS[name](flavour)), tmp_path)


@pytest.mark.parametrize("seed", range(100, 108))
def test_random_networks_under_sanitizers(seed: int, tmp_path: Path) -> None:
    run_sanitized("net", make_case(random_network(seed, ops=14)), tmp_path)
