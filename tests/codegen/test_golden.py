# SPDX-License-Identifier: Apache-2.0
"""The C as people read it: snapshots in tests/golden, which are also compiled and run.

After a deliberate change of a template: ``pytest tests/codegen/test_golden.py --snapshot-update``, then read the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation

from plinio_deploy.artifact import Artifact
from plinio_deploy.codegen import Schedule
from plinio_deploy.codegen.schedule import Bands
from tests.codegen.harness import STRICT, Case, check_cases, compile_c, gcc, make_case
from tests.codegen.ops_cases import CASES, S8, U8
from tests.networks import Builder, residual

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


class CFile(SingleFileSnapshotExtension):
    """One ``.c`` file per snapshot, below tests/golden."""

    _write_mode = WriteMode.TEXT
    file_extension = "c"

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        """The folder of this module's snapshots; syrupy wants the module's name in it."""
        return str(GOLDEN / test_location.basename)


class HFile(CFile):
    """The same for headers."""

    file_extension = "h"


def without_provenance(content: bytes) -> str:
    """A file from its first directive on: version and digest above it change more often than the code."""
    text = content.decode()
    return text[text.index("\n#") + 1 :]


def check_project(case: Case, replaced: dict[str, str], folder: Path) -> None:
    """Compile and run a project with some of its files replaced."""
    files = {**case.artifact.files, **{name: text.encode() for name, text in replaced.items()}}
    project = Case(case.network, Artifact(files), case.manifest, case.inputs, case.expected)
    check_cases({"net": project}, folder)


def golden(name: str, suffix: str = "c") -> str:
    """A file as it was committed."""
    return (GOLDEN / "test_golden" / f"{name}.{suffix}").read_text()


@pytest.mark.host
@pytest.mark.parametrize("name", CASES)
def test_op(name: str, snapshot: SnapshotAssertion, tmp_path: Path) -> None:
    case = make_case(CASES[name]())
    assert without_provenance(case.artifact.files["net_layers.c"]) == snapshot(extension_class=CFile)
    check_project(case, {"net_layers.c": golden(f"test_op[{name}]")}, tmp_path)


@pytest.mark.host
def test_project(snapshot: SnapshotAssertion, tmp_path: Path) -> None:
    case = make_case(residual())
    header = without_provenance(case.artifact.files["net.h"]).replace(case.manifest.network_digest, "0" * 64)
    assert header == snapshot(name="net", extension_class=HFile)
    replaced = {"net.h": golden("test_project[net]", "h")}
    for part in ("", "_trace", "_selftest"):
        text = without_provenance(case.artifact.files[f"net{part}.c"])
        assert text == snapshot(name=f"net{part}", extension_class=CFile)
        replaced[f"net{part}.c"] = golden(f"test_project[net{part}]")
    check_project(case, replaced, tmp_path)


@pytest.mark.host
def test_layers_in_bands(snapshot: SnapshotAssertion, tmp_path: Path) -> None:
    b = Builder(0)
    x = b.conv(b.input((8, 4, 2), S8), 2, padding=(1, 1, 1, 1), out=U8)
    network = b.build(b.max_pool(b.conv(x, 2, (3, 1), padding=(1, 1, 0, 0), out=U8), (2, 2), (2, 2)))
    bands = Bands(first=network.ops[0].name, last=network.ops[1].name, rows=2)
    case = make_case(network, schedule=Schedule(bands=bands))
    replaced = {}
    for name in ("net", "net_layers"):
        assert without_provenance(case.artifact.files[f"{name}.c"]) == snapshot(name=name, extension_class=CFile)
        replaced[f"{name}.c"] = golden(f"test_layers_in_bands[{name}]")
    check_project(case, replaced, tmp_path)


@pytest.mark.host
def test_a_golden_file_that_computes_something_else_is_caught(tmp_path: Path) -> None:
    case = make_case(CASES["linear"]())
    text = golden("test_op[linear]")
    wrong = text.replace("c < 20", "c < 19")
    assert wrong != text
    with pytest.raises(AssertionError, match="linear0"):
        check_project(case, {"net_layers.c": wrong}, tmp_path)
    (tmp_path / "broken.c").write_text(text.replace("int32_t acc", "int8_t acc"))
    with pytest.raises(AssertionError, match="conversion"):
        compile_c([gcc(), *STRICT, "-fsyntax-only", "-I", str(tmp_path / "net"), str(tmp_path / "broken.c")])
