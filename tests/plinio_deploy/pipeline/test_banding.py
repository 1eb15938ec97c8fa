# SPDX-License-Identifier: Apache-2.0
"""A limit on RAM or on the arena is met by layers in bands of rows, through every stage that has to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.codegen import Options, Schedule
from plinio_deploy.codegen.lower import lower
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DoesNotFit
from plinio_deploy.network import Network
from plinio_deploy.pipeline import budget, generate, line, tuning
from plinio_deploy.pipeline.banding import with_bands
from plinio_deploy.pipeline.request import Limits, Request
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import registry
from tests.networks import Builder
from tests.plinio_deploy.pipeline.toy_run import toy_workspace

QUIET = Terminal(-1)
M4 = registry.load("cortex-m4")


def stack() -> Network:
    """Two layers on large images, then small ones."""
    b = Builder(0, name="stack")
    x = b.conv(b.input((16, 16, 3)), 8, padding=(1, 1, 1, 1))
    x = b.conv(x, 8, padding=(1, 1, 1, 1), groups=8)
    x = b.max_pool(b.conv(x, 8, padding=(1, 1, 1, 1)), (4, 4), (4, 4))
    return b.build(b.linear(b.flatten(x), 3))


def arena(schedule: Schedule) -> int:
    return lower(stack(), "net", frozenset(M4.features), schedule).memory.arena_bytes


@pytest.mark.qemu
def test_ram_above_its_limit_is_brought_below_by_bands() -> None:
    plain = budget.sizes(stack(), (M4,), Options())["cortex-m4"]
    assert with_bands(stack(), M4, Limits(ram=plain.ram), Options(), QUIET).schedule == Schedule()
    limits = Limits(ram=plain.ram - 1500)
    options = with_bands(stack(), M4, limits, Options(), QUIET)
    assert options.schedule.bands is not None
    sizes = budget.sizes(stack(), (M4,), options)
    assert not budget.excess(sizes, limits, slack=0.0)
    assert sizes["cortex-m4"].arena <= plain.arena - 1500


@pytest.mark.qemu
def test_a_limit_that_bands_cannot_meet_is_left_to_the_check_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert with_bands(stack(), M4, Limits(ram=1000), Options(), Terminal(0)).schedule == Schedule()
    assert "bytes at least" in " ".join(capsys.readouterr().err.split())


@pytest.mark.qemu
def test_a_run_under_a_limit_on_ram_is_tuned_with_bands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = Builder(0, name="pools")
    b.max_pool(b.max_pool(b.max_pool(b.input((16, 16, 8)), (3, 3)), (3, 3)), (4, 4), (4, 4))
    network = b.build()
    limits = Limits(ram=budget.sizes(network, (M4,), Options())["cortex-m4"].ram - 1200)
    found = tuning.schedules(Workspace(tmp_path), network, (M4,), limits, Options(), Terminal(0), always=False)
    schedule = found["cortex-m4"]
    assert schedule.bands is not None
    assert set(schedule.layers) == {op.name for op in network.ops}
    sizes = budget.sizes(network, (M4,), Options(schedule=schedule))
    assert not budget.excess(sizes, limits, slack=0.0)
    assert "in bands of rows" in capsys.readouterr().err


@pytest.mark.host
def test_a_target_that_counts_nothing_runs_in_bands_all_the_same(tmp_path: Path) -> None:
    host = registry.load("host")
    limits = Limits(ram=budget.sizes(stack(), (host,), Options())["host"].ram - 1500)
    found = tuning.schedules(Workspace(tmp_path), stack(), (host,), limits, Options(), QUIET, always=False)
    assert found["host"].bands is not None


@pytest.mark.qemu
def test_a_limit_on_the_arena_goes_through_every_stage(tmp_path: Path) -> None:
    request = Request(toy_workspace(tmp_path, network=stack(), samples=3), targets=("cortex-m4",), trace_samples=2)
    limit = arena(Schedule()) - 1500
    line.generate_only(request, None, QUIET, max_arena=limit)
    _, manifest = generate.load_project(request.workspace.generate.path / generate.PROJECT)
    assert manifest.arena_bytes <= limit
    assert manifest.bands is not None
    line.build_only(request, QUIET)
    (document,) = line.measure_only(request, QUIET)
    assert (document["differing_samples"], document["differing_tensors"]) == (0, 0)
    assert document["traced_tensors"] == 2 * len(manifest.calls) > 2 * len(manifest.steps)
    assert document["bands"]["recomputed_macs"] == 0 < document["bands"]["copied_bytes"]
    assert [layer["name"] for layer in document["layers"]] == [step.layer for step in manifest.steps]
    assert all(layer["instructions"] and layer["code_bytes"] for layer in document["layers"])
    line.report_only(request, QUIET)
    page = (request.workspace.report.path / "report.html").read_text(encoding="utf-8")
    assert f"{manifest.bands.count} bands" in page


def test_a_limit_below_everything_is_refused(tmp_path: Path) -> None:
    request = Request(toy_workspace(tmp_path, network=stack()))
    with pytest.raises(DoesNotFit, match="bytes at least"):
        line.generate_only(request, None, QUIET, max_arena=100)
