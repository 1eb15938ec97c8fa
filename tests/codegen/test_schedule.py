# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from plinio_deploy.codegen import Manifest, Options, Schedule, generate
from plinio_deploy.codegen.manifest import FILE
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Network
from tests.networks import Builder

DSP = Options(isa=("dsp",))


def network() -> Network:
    b = Builder(0)
    b.linear(b.flatten(b.conv(b.input((4, 4, 4)), 8)), 5)
    return b.build()


def kernels(options: Options) -> dict[str, str]:
    manifest = Manifest.parse(generate(network(), options).files[FILE])
    return {step.op: step.kernel for step in manifest.steps}


def scheduled(**names: str) -> Options:
    """Options that give the op of each kind a kernel."""
    layers = {op.kind: op.name for op in network().ops}
    return Options(isa=("dsp",), schedule=Schedule.of({layers[kind]: name for kind, name in names.items()}))


def test_a_scheduled_layer_takes_its_kernel_and_the_others_the_cheapest() -> None:
    cheapest = kernels(DSP)
    assert cheapest["conv"] == "conv_dsp"
    assert kernels(scheduled(conv="conv_plain")) == {**cheapest, "conv": "conv_plain"}


def test_the_cheapest_by_name_is_the_same_code() -> None:
    named = generate(network(), scheduled(**kernels(DSP)))
    plain = generate(network(), DSP)
    assert named.files["net_layers.c"].split(b"*/", 1)[1] == plain.files["net_layers.c"].split(b"*/", 1)[1]


def test_the_manifest_and_the_first_lines_of_the_c_say_so() -> None:
    options = scheduled(conv="conv_plain")
    files = generate(network(), options).files
    assert Manifest.parse(files[FILE]).schedule == options.schedule.layers
    assert b"a schedule for 1 layers" in files["net.c"]
    assert b"a schedule" not in generate(network(), DSP).files["net.c"]


def test_the_order_of_the_layers_in_a_schedule_does_not_matter() -> None:
    chosen = kernels(DSP)
    layers = {op.name: chosen[op.kind] for op in network().ops if op.kind in chosen}
    forth, back = (
        Schedule.model_validate({"layers": {name: {"kernel": kernel} for name, kernel in items}})
        for items in (list(layers.items()), list(reversed(layers.items())))
    )
    assert forth.dump() == back.dump()
    made = [generate(network(), Options(isa=("dsp",), schedule=item)).digest() for item in (forth, back)]
    assert made[0] == made[1]


def test_a_kernel_that_does_not_execute_the_layer_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match=r"(?s)conv_dsp, conv_plain") as caught:
        generate(network(), scheduled(conv="linear_dsp"))
    assert "linear_dsp" in str(caught.value)
    conv = next(op.name for op in network().ops if op.kind == "conv")
    with pytest.raises(UsageError, match="does not execute this conv"):
        generate(network(), Options(schedule=Schedule.of({conv: "conv_dsp"})))


def test_an_unknown_layer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="does not have") as caught:
        generate(network(), Options(schedule=Schedule.of({"nobody": "conv_plain"})))
    assert all(op.name in str(caught.value) for op in network().ops)


def test_a_schedule_comes_back_from_its_file(tmp_path: Path) -> None:
    schedule = Schedule.of({"b": "linear_plain", "a": "conv_plain"})
    path = tmp_path / "schedule.json"
    path.write_bytes(schedule.dump())
    assert Schedule.load(path) == schedule


def test_parameters_of_a_kernel_stand_beside_its_name(tmp_path: Path) -> None:
    name = "conv_winograd_scratch(patches=8)"
    schedule = Schedule.of({"a": name, "b": "conv_plain"})
    assert schedule.layers["a"].parameters == {"patches": 8}
    assert [schedule.layers[layer].name for layer in "ab"] == [name, "conv_plain"]
    path = tmp_path / "schedule.json"
    path.write_bytes(schedule.dump())
    assert json.loads(path.read_text())["layers"] == {
        "a": {"kernel": "conv_winograd_scratch", "parameters": {"patches": 8}},
        "b": {"kernel": "conv_plain"},
    }
    assert Schedule.load(path) == schedule


@pytest.mark.parametrize(
    "text", ["", "{}x", '{"layers": {"a": {}}}', '{"layers": {"a": {"kernel": 3}}}', '{"schema": 2}']
)
def test_what_is_no_schedule_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="cannot be read"):
        Schedule.load(path)
    with pytest.raises(UsageError, match="cannot be read"):
        Schedule.load(tmp_path / "nothing")


@pytest.mark.parametrize(("text", "place"), [("{}x", ""), ('{"layers": {"a": {"kernel": 3}}}', ": layers.a.kernel")])
def test_what_is_wrong_in_a_schedule_is_named(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        Schedule.load(path)
    assert caught.value.where == f"{path}{place}"
