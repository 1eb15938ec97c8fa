# SPDX-License-Identifier: Apache-2.0
"""The project as files: complete, stable, refused with a reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from plinio_deploy import storage
from plinio_deploy.codegen import Options, Vectors, generate
from plinio_deploy.errors import InvalidNetwork, UsageError
from tests.codegen.harness import make_case
from tests.networks import NETWORKS, Builder, digits_cnn, random_network, residual

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
from tests.networks import digits_cnn, random_network
from plinio_deploy.codegen import Options, generate
print(generate(digits_cnn()).digest(), generate(random_network(7), Options(prefix="other")).digest())
assert "torch" not in sys.modules
"""


def digest_elsewhere(seed: str, folder: Path) -> str:
    """Digests that another process computes, in another folder, with another hash seed."""
    environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True).stdout


def test_equal_arguments_give_equal_bytes_in_any_process_and_folder(tmp_path: Path) -> None:
    here = f"{generate(digits_cnn()).digest()} {generate(random_network(7), Options(prefix='other')).digest()}\n"
    assert digest_elsewhere("1", tmp_path) == digest_elsewhere("2", ROOT) == here


def test_the_files_of_a_project() -> None:
    artifact = generate(residual())
    assert sorted(artifact.files) == sorted(
        [
            *("net.h", "net.c", "net_layers.h", "net_layers.c", "net_kernels.h", "net_weights.h", "net_weights.c"),
            *("net_trace.h", "net_trace.c", "CMakeLists.txt", "Makefile", "manifest.json"),
        ]
    )
    with_vectors = make_case(residual()).artifact
    assert set(with_vectors.files) - set(artifact.files) == {
        *("net_selftest.h", "net_selftest.c", "net_selftest_main.c", "net_vectors.h", "net_vectors.c"),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_every_file_names_version_network_and_options_but_no_date_or_path(name: str) -> None:
    network = NETWORKS[name]("hi32")
    artifact = make_case(network, "demo").artifact
    for path, content in artifact.files.items():
        text = content.decode("ascii")
        assert storage.digest(network) in text, path
        assert not re.search(r"20\d\d-\d\d|/work|/home|/tmp|/usr", text), path
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        for number, line in enumerate(text.splitlines(), 1):
            assert line == line.rstrip(), f"{path}:{number}"
            assert "\t" not in line or path == "Makefile", f"{path}:{number}"
            assert len(line) <= 125, f"{path}:{number}"
        if path.endswith((".c", ".h")):
            assert "SPDX-License-Identifier: Apache-2.0" in text
            assert "Do not edit" in text


def test_all_symbols_macros_and_files_carry_the_prefix() -> None:
    artifact = make_case(digits_cnn(), "lenet").artifact
    text = "".join(content.decode() for path, content in artifact.files.items() if path.endswith((".c", ".h")))
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    for name in re.findall(r"^#define (\w+)", text, flags=re.MULTILINE):
        assert name.startswith("LENET_"), name
    declared = re.findall(r"^(?:static inline |extern |const |typedef )*\w+ \*?(\w+)[\[(]", text, flags=re.MULTILINE)
    assert len(declared) > 20
    for name in declared:
        assert name.startswith("lenet_") or name == "main", name
    files = [path for path in artifact.files if path not in ("CMakeLists.txt", "Makefile", "manifest.json")]
    assert all(path.startswith("lenet") for path in files)


def test_a_prefix_that_cannot_work_is_refused() -> None:
    with pytest.raises(UsageError, match="prefix"):
        generate(residual(), Options(prefix="class"))


@pytest.mark.parametrize(
    "vectors",
    [
        Vectors([], []),
        Vectors([bytes(300)], []),
        Vectors([bytes(299)], [bytes(10)]),
        Vectors([bytes(300)], [bytes(11)]),
    ],
)
def test_vectors_of_the_wrong_size_are_refused(vectors: Vectors) -> None:
    with pytest.raises(UsageError, match="vector"):
        generate(residual(), vectors=vectors)


def test_an_invalid_network_is_refused() -> None:
    with pytest.raises(InvalidNetwork):
        generate(replace(residual(), outputs=("nothing",)))


def test_an_input_that_nobody_reads_and_an_empty_arena_are_fine() -> None:
    b = Builder(0)
    x = b.input((3,))
    b.input((5,))
    header = generate(b.build(b.linear(x, 2))).files["net.h"].decode()
    assert "#define NET_ARENA_BYTES 1\n" in header


def test_layers_with_equal_micro_kernels_share_them() -> None:
    b = Builder(0)
    u8 = (8, False, 0.05, 0)
    x = b.input((4, 4, 8), u8)
    for _ in range(2):
        x = b.conv(x, 8, (1, 1), out=u8, relu=True)
    b.conv(x, 7, (1, 1), out=u8, relu=True)
    text = generate(b.build(), Options(isa=("dsp",))).files["net_layers.c"].decode()
    assert re.findall(r'"(\w+_products\w+):', text) == [
        "net_l00_conv0_products_raw8",
        "net_l02_conv2_products_raw8_3",
    ]
    assert re.findall(r"static void (\w+_body)", text) == ["net_l00_conv0_body", "net_l02_conv2_body"]
    assert text.count("    net_l00_conv0_body(in, out, scratch, ") == 2
    assert "instruction set dsp" in text
    assert "lXX" not in text
