# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from plinio_deploy import storage
from plinio_deploy.cli import main
from plinio_deploy.codegen import Schedule
from plinio_deploy.codegen.schedule import Bands
from plinio_deploy.pipeline.generate import load_project
from tests.networks import Builder
from tests.plinio_deploy.cli.conftest import RunJson
from tests.plinio_deploy.toy import toy


def test_generate(run_json: RunJson, toy_out: Path) -> None:
    document = run_json("generate", "--out", str(toy_out), "--prefix", "toy")
    assert (toy_out / "generate" / "project" / "toy.h").is_file()
    assert document["project"] == str(toy_out / "generate" / "project")
    assert document["facts"]["prefix"] == "toy"


def test_a_network_from_elsewhere(tmp_path: Path, capsys: object) -> None:
    storage.save(toy(), tmp_path / "network")
    assert main(["generate", "--network", str(tmp_path / "network"), "--out", str(tmp_path / "out"), "-q"]) == 0
    project = tmp_path / "out" / "generate" / "project"
    assert (project / "net.c").is_file()
    assert not (project / "net_selftest.c").exists(), "there are no test data beside that network"


def test_a_schedule_from_a_file(run_json: RunJson, toy_out: Path, tmp_path: Path) -> None:
    layer = next(op.name for op in toy().ops if op.kind == "conv")
    words = ("generate", "--out", str(toy_out), "--schedule", str(tmp_path / "schedule.json"))
    (tmp_path / "schedule.json").write_bytes(Schedule.of({layer: "conv_plain"}).dump())
    run_json(*words)
    _, manifest = load_project(toy_out / "generate" / "project")
    assert {name: item.kernel for name, item in manifest.schedule.items()} == {layer: "conv_plain"}
    (tmp_path / "schedule.json").write_bytes(Schedule.of({layer: "conv_dsp"}).dump())
    assert "conv_plain" in str(run_json(*words, code=2)["error"])


def test_an_arena_within_a_limit_or_the_least_that_there_is(run_json: RunJson, tmp_path: Path) -> None:
    b = Builder(0)
    x = b.conv(b.conv(b.input((16, 16, 3)), 8, padding=(1, 1, 1, 1)), 8, padding=(1, 1, 1, 1))
    storage.save(b.build(b.linear(b.flatten(b.max_pool(x, (4, 4), (4, 4))), 3)), tmp_path / "network")
    words = ("generate", "--network", str(tmp_path / "network"), "--out", str(tmp_path / "out"), "--max-arena")
    facts = run_json(*words, "2k")["facts"]
    assert facts["arena_bytes"] <= 2048
    assert facts["bands"]["recomputed_macs"] == 0
    first, second = (op.name for op in storage.load(tmp_path / "network").ops[:2])
    loose = Schedule(bands=Bands(first=first, last=second, rows=8))
    (tmp_path / "schedule.json").write_bytes(loose.dump())
    again = run_json(*words, "2k", "--schedule", str(tmp_path / "schedule.json"))["facts"]
    assert (again["arena_bytes"], again["bands"]) == (facts["arena_bytes"], facts["bands"])
    assert "bytes at least" in str(run_json(*words, "100", code=5)["error"])


def test_kernels_that_are_asked_for(run_json: RunJson, tmp_path: Path) -> None:
    b = Builder(0)
    u8 = (8, False, 0.05, 0)
    x = b.conv(b.input((8, 8, 8), u8), 8, padding=(1, 1, 1, 1), out=u8)
    storage.save(b.build(b.add(x, b.conv(x, 8, padding=(1, 1, 1, 1), out=u8), u8)), tmp_path / "network")
    words = ("generate", "--network", str(tmp_path / "network"), "--out", str(tmp_path / "out"), "-t", "cortex-m4")

    def kernels(*more: str) -> set[str]:
        run_json(*words, *more)
        _, manifest = load_project(tmp_path / "out" / "generate" / "project")
        return {step.kernel for step in manifest.steps}

    assert kernels() == kernels("--winograd", "none", "--no-wide") == {"conv_dsp", "add_unrolled"}
    assert kernels("--winograd", "flash", "--adds-along") == {"conv_winograd", "conv_winograd_add"}
    assert kernels("--wide") == {"conv_wide_dsp", "add_unrolled"}
    (tmp_path / "schedule.json").write_bytes(Schedule().dump())
    both = run_json(*words, "--wide", "--schedule", str(tmp_path / "schedule.json"), code=2)
    assert "asked for besides" in str(both["error"])
