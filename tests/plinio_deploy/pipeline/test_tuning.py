# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plinio_deploy.codegen import Options, Schedule
from plinio_deploy.codegen.requested import Requested
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DoesNotFit
from plinio_deploy.pipeline import budget, tuning
from plinio_deploy.pipeline.candidates import candidates
from plinio_deploy.pipeline.choice import Problem
from plinio_deploy.pipeline.request import Limits
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import registry
from tests.networks import Builder
from tests.plinio_deploy.pipeline.tuned_network import network

QUIET = Terminal(-1)
M4 = registry.load("cortex-m4")


@pytest.mark.qemu
def test_what_is_asked_for_takes_part_without_limits() -> None:
    options = (network(), M4, Limits(), Options(), QUIET)
    _, plain = tuning.tune(*options)
    schedule, asked = tuning.tune(*options, Requested("flash"))
    assert asked["tuned"]["total"] < plain["tuned"]["total"]
    assert any("winograd" in entry.kernel for entry in schedule.layers.values())


@pytest.mark.qemu
def test_tuned_is_no_slower_than_the_default_and_the_same_every_time(tmp_path: Path) -> None:
    made, folder = [], Workspace(tmp_path).tune("cortex-m4")
    for name in ("a", "b"):
        folder = Workspace(tmp_path / name).tune("cortex-m4")
        record = tuning.run(folder, network(), M4, Limits(), Options(), QUIET)
        assert record.facts["tuned"]["total"] <= record.facts["default"]["total"]
        made.append([(folder.path / file).read_bytes() for file in ("schedule.json", "tuning.json")])
    assert made[0] == made[1]
    assert tuning.run(folder, network(), M4, Limits(), Options(), QUIET).kept


@pytest.mark.qemu
def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_CACHE", str(tmp_path))
    first = tuning.measure(network(), M4, Options(isa=M4.features))
    monkeypatch.setattr(tuning, "_write", None)
    assert tuning.measure(network(), M4, Options(isa=M4.features)) == first


def tuned(limits: Limits) -> tuple[Schedule, dict[str, Any]]:
    return tuning.tune(network(), M4, limits, Options(), QUIET)


@pytest.mark.qemu
def test_limits_are_met_by_the_fast_kernels_where_they_gain_most() -> None:
    _, free = tuned(Limits(flash=1 << 20))
    fastest = free["tuned"]
    schedule, document = tuned(Limits(flash=fastest["flash_bytes"] - 400))
    assert document["tuned"]["flash_bytes"] <= fastest["flash_bytes"] - 400
    assert document["tuned"]["total"] > fastest["total"]
    plain = sum(max(item["cost"] for item in layer["candidates"]) for layer in document["layers"])
    assert document["tuned"]["total"] < plain
    kernels = {item.kernel for item in schedule.layers.values()}
    assert any(name.endswith(("_dsp", "_winograd")) for name in kernels)
    assert any(name.endswith("_plain") for name in kernels)
    schedule, document = tuned(Limits(ram=fastest["ram_bytes"] - 8))
    assert document["tuned"]["arena_bytes"] < fastest["arena_bytes"]
    json.dumps(document)


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m4"])
def test_flash_of_single_layers_adds_up(name: str) -> None:
    """Micro-kernels belong to their layers, whether or not others share them."""
    target = registry.load(name)
    names = candidates(network(), target)
    around, smallest = [], 1 << 30
    for rank in range(2):
        kernels = {layer: able[min(rank, len(able) - 1)] for layer, able in names.items()}
        options = Options(isa=target.features, schedule=Schedule.of(kernels))
        measured = tuning.measure(network(), target, options)
        around.append(measured.flash)
        whole = budget.sizes(network(), (target,), options)[name].flash
        assert whole == measured.flash + Problem([[layer] for layer in measured.layers]).flash((0,) * len(names))
        smallest = min(smallest, whole)
    assert abs(around[0] - around[1]) < 0.04 * smallest


@pytest.mark.qemu
def test_the_least_firmware_that_was_measured_is_found_to_the_byte() -> None:
    target = registry.load("cortex-m0plus")

    def flash(options: Options) -> int:
        return budget.sizes(network(), (target,), options)["cortex-m0plus"].flash

    def tuned_to(flash: int) -> int:
        _, document = tuning.tune(network(), target, Limits(flash=flash), Options(), QUIET)
        found: int = document["tuned"]["flash_bytes"]
        return found

    names = candidates(network(), target)
    plain = {layer: next(name for name in able if name.endswith(("_plain", "_copy"))) for layer, able in names.items()}
    least, most = flash(Options(isa=target.features, schedule=Schedule.of(plain))), flash(Options(isa=target.features))
    assert tuned_to(least) == least
    with pytest.raises(DoesNotFit, match="no choice of kernels"):
        tuned_to(least - 1)
    assert least < tuned_to(most - 1) < most


@pytest.mark.qemu
def test_under_a_limit_on_ram_adds_execute_the_convolution_before_them() -> None:
    b = Builder(0)
    x = b.conv(b.input((1, 256, 8)), 8, (1, 1))  # a single row: no bands of rows
    b.add(x, b.conv(b.conv(x, 4, (1, 1)), 8, (1, 1)))
    options = Options(isa=M4.features)
    sizes = budget.sizes(b.build(), (M4,), options)["cortex-m4"]
    schedule, document = tuning.tune(b.build(), M4, Limits(ram=sizes.ram - 1000), options, QUIET)
    assert "conv_dsp_add" in {layer.kernel for layer in schedule.layers.values()}
    assert document["tuned"]["ram_bytes"] <= sizes.ram - 1000
    assert document["default"]["ram_bytes"] == sizes.ram


@pytest.mark.qemu
def test_limits_that_no_kernels_meet_are_refused() -> None:
    with pytest.raises(DoesNotFit, match="no choice of kernels"):
        tuned(Limits(flash=1000))


@pytest.mark.qemu
def test_a_run_tunes_where_the_fast_kernels_do_not_fit_and_leaves_other_targets_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    most = tuned(Limits(flash=1 << 20))[1]["default"]["flash_bytes"]

    def schedules(flash: int | None) -> dict[str, Schedule]:
        limits = Limits(flash=flash)
        return tuning.schedules(workspace, network(), (M4,), limits, Options(), QUIET, always=False)

    assert schedules(None) == {}
    assert schedules(most) == {}
    assert schedules(1000) == {}, "the check at the end says by how much it is missed"
    assert list(schedules(most - 400)) == ["cortex-m4"]
