# SPDX-License-Identifier: Apache-2.0
"""Random mixed-precision models, from torch to C: every tensor of every one equals the interpreter's.

Widths are drawn per channel (0, 2, 4, 8) and per activation, signed and not; models have residuals, depthwise and
grouped convolutions, concats and one or two spatial dimensions. More of them in long runs:
``PLINIO_DEPLOY_MIXED_GRAPHS=500``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy import interpreter
from plinio_deploy.integerize import lower
from plinio_deploy.integerize.compare import compaction_differences, input_codes, layer_differences, trace_codes
from plinio_deploy.network import Network
from tests.codegen.harness import STRICT, Case, check_cases, compile_c, gcc, make_case
from tests.random_models import mixed_case, quantized

pytestmark = pytest.mark.host

GRAPHS = int(os.environ.get("PLINIO_DEPLOY_MIXED_GRAPHS", "24"))
FIRST = int(os.environ.get("PLINIO_DEPLOY_MIXED_FIRST", "0"))
"""Seed of the first."""
BATCH = 12
SAMPLES = 3


def from_torch(seed: int) -> Network:
    """A random model as integers, after comparing what torch says with the interpreter."""
    case = mixed_case(seed)
    qnet = quantized(case)
    made = lower(qnet, f"mixed{seed}")
    reference = interpreter.run(made.network, input_codes(made, case.x))
    for name, codes in trace_codes(made, case.x).items():
        assert np.array_equal(codes, reference[name]), f"{seed}: {name}"
    assert not any(compaction_differences(qnet, made, case.x).values()), seed
    assert max(layer_differences(qnet, made, case.x).values()) <= 1, seed
    return made.network


@pytest.mark.parametrize("first", range(FIRST, FIRST + GRAPHS, BATCH))
def test_torch_interpreter_and_c_agree(first: int, tmp_path: Path) -> None:
    seeds = range(first, min(first + BATCH, FIRST + GRAPHS))
    cases = {f"m{seed}": make_case(from_torch(seed), f"m{seed}", SAMPLES) for seed in seeds}
    check_cases(cases, tmp_path)
    run_sanitized(cases, tmp_path)


CALL = """
    for (int s = 0; s < SAMPLES; s++) {
        uint8_t *arena = block(ARENA), *input = block(INPUT), *output = block(OUTPUT);
        if (fread(input, 1, INPUT, stdin) != INPUT) {
            return 2;
        }
        for (uint32_t i = 0; i < STEPS; i++) {
            PREFIX_step(i, arena, input, output);
            fwrite((places[i] ? output : arena) + offsets[i], 1, sizes[i], stdout);
        }
        free(arena);
        free(output);
        arena = block(ARENA);
        output = block(OUTPUT);
        PREFIX_run_packed(arena, input, output);
        fwrite(output, 1, OUTPUT, stdout);
        free(arena);
        free(input);
        free(output);
    }
"""

HEAD = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
INCLUDES
/* Every buffer is a heap block of its exact size, so that any access outside is seen. */
static uint8_t *block(size_t size)
{
    return malloc(size);
}
"""


def run_sanitized(cases: Mapping[str, Case], folder: Path) -> None:
    """One program of all networks: inputs come in on stdin, all tensors go out on stdout."""
    functions, sources, expected, given = [], [], b"", b""
    for prefix, case in cases.items():
        manifest = case.manifest
        functions.append(_function(prefix, case))
        sources += [str(folder / prefix / name) for name in (*manifest.sources, *manifest.trace_sources)]
        for sample, data in enumerate(case.inputs):
            given += data
            expected += b"".join(case.wanted(call, sample) for call in manifest.calls) + case.outputs[sample]
    includes = "\n".join(f'#include "{prefix}/{prefix}_trace.h"' for prefix in cases)
    calls = "".join(f"    if (test_{prefix}() != 0) {{\n        return 2;\n    }}\n" for prefix in cases)
    main = f"int main(void)\n{{\n{calls}    return 0;\n}}\n"
    (folder / "driver.c").write_text(HEAD.replace("INCLUDES", includes) + "".join(functions) + main)
    program = folder / "driver"
    flags = [*STRICT, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_c([gcc(), *flags, "-o", str(program), str(folder / "driver.c"), *sources])
    environ = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    result = subprocess.run([str(program)], input=given, capture_output=True, env=environ, timeout=120)
    assert result.returncode == 0, result.stderr.decode()[:2000]
    assert result.stdout == expected


def _function(prefix: str, case: Case) -> str:
    """The C function that runs one network's samples."""
    manifest = case.manifest
    tables: dict[str, list[int]] = {
        "uint32_t offsets": [call.offset for call in manifest.calls],
        "uint32_t sizes": [call.bytes for call in manifest.calls],
        "int places": [call.place for call in manifest.calls],
    }
    lines = [f"    static const {name}[] = {{{', '.join(map(str, values))}}};" for name, values in tables.items()]
    body = CALL.replace("SAMPLES", str(len(case.inputs))).replace("PREFIX", prefix)
    for what in ("ARENA", "INPUT", "OUTPUT"):
        body = body.replace(what, f"{prefix.upper()}_{what}_BYTES")
    body = body.replace("STEPS", f"{prefix.upper()}_STEPS")
    return f"static int test_{prefix}(void)\n{{\n" + "\n".join(lines) + body + "    return 0;\n}\n"
