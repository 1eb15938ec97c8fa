# SPDX-License-Identifier: Apache-2.0
"""The steps of targets/README.md, done."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from plinio_deploy.errors import DoesNotFit
from plinio_deploy.targets import registry
from plinio_deploy.targets.schema import Qemu, Rtl, Target
from tests.firmware.benches import counting, made, ran, samples
from tests.firmware.fake_project import project, reference

README = registry.BOARDS.parent / "README.md"


def blocks() -> list[str]:
    """The TOML blocks of the page, in order."""
    return [
        textwrap.dedent(block)
        for block in re.findall(r"^ *```toml\n(.*?)^ *```$", README.read_text(), re.MULTILINE | re.DOTALL)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of step 1."""
    path = tmp_path / "my-targets"
    path.mkdir()
    monkeypatch.setenv(registry.FOLDERS_VARIABLE, str(path))
    return path


@pytest.mark.qemu
def test_the_board_of_the_page_is_built_for(folder: Path, tmp_path: Path) -> None:
    board, _, _ = blocks()
    (folder / "stm32f446.toml").write_text(board)
    assert "stm32f446" in registry.names()
    built = made(project(), "stm32f446", tmp_path / "out")
    vectors = built.image.sections[0]
    assert vectors.address == 0x0800_0000
    with pytest.raises(DoesNotFit, match="stm32f446"):
        made(project(arena_bytes=200_000), "stm32f446", tmp_path / "large")


@pytest.mark.qemu
def test_with_a_machine_of_qemu_it_is_measured(folder: Path, tmp_path: Path) -> None:
    board, machine, _ = blocks()
    text = board.replace('"none"', '"qemu"').replace("0x0800_0000", "0x0000_0000") + machine
    (folder / "stm32f446.toml").write_text(text)
    built = made(project(), "stm32f446", tmp_path / "out")
    inputs = samples(5)
    result = ran(built, "stm32f446", inputs, count=counting(project(), built))
    assert result.outputs == b"".join(reference(sample)[-1] for sample in inputs)
    assert result.instructions is not None
    assert result.cycles is not None
    assert result.cycles.source == "model"


def test_the_rtl_of_the_page_is_that_of_our_own_target() -> None:
    _, _, simulated = blocks()
    ours = tomllib.loads((registry.BOARDS / "ibex.toml").read_text())["rtl"]
    assert Rtl.model_validate(tomllib.loads(simulated)["rtl"]) == Rtl.model_validate(ours)


def test_the_table_has_the_keys_of_our_own_targets() -> None:
    documented = set(
        re.findall(
            r"`([a-z_.]+)`",
            "".join(line.split("|")[1] for line in README.read_text().splitlines() if line.startswith("| `")),
        )
    )
    used = {"name", "description", "isa", "features", "family", "toolchain", "flags", "runner"}
    for name, sections in (("cortex-m4", ("memory", "qemu")), ("rv32imc", ("memory", "qemu")), ("ibex", ("rtl",))):
        table = tomllib.loads((registry.BOARDS / f"{name}.toml").read_text())
        used |= {f"{section}.{key}" for section in sections for key in table[section]}
    used |= {f"rtl.{key}" for key in Rtl.model_fields} | {f"qemu.{key}" for key in Qemu.model_fields}
    assert documented == used
    assert {key.split(".")[0] for key in used} <= set(Target.model_fields)
