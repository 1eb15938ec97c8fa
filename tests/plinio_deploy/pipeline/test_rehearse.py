# SPDX-License-Identifier: Apache-2.0
"""What cannot fit is refused before training, and what fits by a hair is left to the real build."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.codegen import Options
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DoesNotFit, UnsupportedModel
from plinio_deploy.pipeline import budget, line, train
from plinio_deploy.pipeline.rehearse import _untrained, rehearse
from plinio_deploy.pipeline.request import Limits, Request, Search
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import registry
from plinio_deploy.targets.schema import Target
from tests.plinio_deploy.pipeline.test_train import TINY

QUIET = Terminal(-1)


def shrunk(tmp_path: Path, *, ram: int = 0x4000, flash: int = 0x40000) -> Path:
    """A Cortex-M0+ with other amounts of memory."""
    text = registry.files()["cortex-m0plus"].read_text(encoding="utf-8").replace("cortex-m0plus", "shrunk", 1)
    for before, after in (("0x4000", ram), ("0x4_0000", flash)):
        assert text.count(f"size = {before}\n") == 1
        text = text.replace(f"size = {before}\n", f"size = {after:#x}\n")
    path = tmp_path / "shrunk.toml"
    path.write_text(text, encoding="utf-8")
    return path


def prepared(tmp_path: Path, *targets: str) -> tuple[train.Trainer, tuple[Target, ...]]:
    request = Request(Workspace(tmp_path / "out"), str(TINY), targets)
    return train.prepare(request, QUIET), tuple(map(registry.load, targets))


@pytest.mark.qemu
def test_too_little_ram_is_found_before_training_and_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "run", lambda *_: pytest.fail("training started"))
    request = Request(Workspace(tmp_path / "out"), str(TINY), (str(shrunk(tmp_path, ram=0x900)),))
    with pytest.raises(DoesNotFit, match="exceeds the RAM"):
        line.run_line(request, QUIET)
    assert not (tmp_path / "out").exists()


@pytest.mark.qemu
def test_what_fits_passes(tmp_path: Path) -> None:
    rehearse(*prepared(tmp_path, "cortex-m0plus"), Options(), QUIET)


@pytest.mark.qemu
def test_under_a_limit_on_flash_smaller_kernels_may_fit(tmp_path: Path) -> None:
    trainer, (roomy,) = prepared(tmp_path, "cortex-m0plus")
    network = _untrained(trainer, QUIET)
    assert network is not None
    fast, small = (
        budget.sizes(network, (target,), Options())["cortex-m0plus"].flash for target in (roomy, budget.portable(roomy))
    )
    flash = (fast + small) // 32 * 16  # a multiple of 16
    targets = (registry.load(str(shrunk(tmp_path, flash=flash))),)
    rehearse(trainer, targets, Options(), QUIET, Limits(flash=flash))
    with pytest.raises(DoesNotFit, match="exceeds the flash"):
        rehearse(trainer, targets, Options(), QUIET, Limits(ram=1 << 20))
    targets = (registry.load(str(shrunk(tmp_path, flash=small // 16 * 16 - 0x200))),)
    with pytest.raises(DoesNotFit, match="exceeds the flash"):
        rehearse(trainer, targets, Options(), QUIET, Limits(flash=flash))


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["flash", "ram"])
def test_a_limit_that_nothing_meets_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trainer, (target,) = prepared(tmp_path, "cortex-m0plus")
    network = _untrained(trainer, QUIET)
    assert network is not None
    least = getattr(budget.sizes(network, (budget.portable(target),), Options())[target.name], name)
    rehearse(trainer, (target,), Options(), QUIET, Limits(**{name: least}))
    monkeypatch.setattr(train, "run", lambda *_: pytest.fail("training started"))
    limits = Limits(**{name: least // 2})
    request = Request(Workspace(tmp_path / "out"), str(TINY), (target.name,), search=Search(limits=limits))
    with pytest.raises(DoesNotFit, match=f"does not come near the limit on {name}"):
        line.run_line(request, QUIET)
    assert not (tmp_path / "out").exists()


@pytest.mark.host
def test_a_target_without_a_memory_map_is_only_built_for(tmp_path: Path) -> None:
    rehearse(*prepared(tmp_path, "host"), Options(), QUIET)


def test_numbers_that_only_untrained_weights_bring_do_not_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UnsupportedModel("a layer's numbers do not fit 32 bits")

    trainer, targets = prepared(tmp_path, "host")
    monkeypatch.setattr("plinio_deploy.integerize.integerize", refuse)
    rehearse(trainer, targets, Options(), QUIET)
