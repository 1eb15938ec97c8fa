# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from plinio_deploy.console import Terminal
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Conv
from plinio_deploy.pipeline.calibration import bench, calibrate, design, networks
from plinio_deploy.pipeline.calibration.micro import Spec
from plinio_deploy.targets import luts, registry
from plinio_deploy.targets.calibration.fitting import Point, fit
from plinio_deploy.targets.calibration.geometry import of_op

QUIET = Terminal(-1)


def test_designs_are_the_same_every_time_and_apart_from_each_other() -> None:
    assert design.layers("fit") == design.layers("fit")
    fit, held_out = design.layers("fit"), design.layers("held out")
    both = set(fit) & set(held_out)
    assert len([spec for spec in held_out if spec.op == "conv" and spec in both]) < 0.02 * len(held_out)


def test_the_design_covers_every_op_at_every_width() -> None:
    parts = [
        part
        for network in bench.layer_networks(design.layers("fit"), "x")
        for op in network.ops
        for part in of_op(network, op)
    ]
    counts = Counter((part.op, part.w_bits, part.a_bits) for part in parts if part.share == 1)
    for op in ("conv", "pointwise", "depthwise", "linear"):
        assert all(counts[op, w_bits, a_bits] >= 10 for w_bits, a_bits in design.WIDTHS), op
    assert {op for op, _, _ in counts} >= {"add", "pool", "max_pool", "copy", "requantize"}
    assert any(part.share < 1 for part in parts)


def test_ops_without_weights_are_measured_at_every_number_of_channels() -> None:
    found = Counter((spec.op, spec.a_bits, spec.cin) for spec in design.moves("fit"))
    for op, count in design.MOVES.items():
        channels = {cin for name, _, cin in found if name == op}
        assert len(channels) > 20
        assert all(found[op, a_bits, cin] == count for a_bits in (8, 4, 2) for cin in channels)
    assert {spec.out_bits for spec in design.moves("fit") if spec.op == "requantize" and spec.a_bits == 4} == {8, 4, 2}


def test_what_pruning_leaves_behind_is_measured_too() -> None:
    ends = {spec.cin * spec.a_bits % 8 for spec in design.ragged("fit")}
    assert ends > {0}
    late = design.late("fit")
    assert all(spec.output[0] <= 5 and spec.cout >= 40 for spec in late)
    assert any(len(set(spec.w_bits)) > 1 for spec in late)
    assert design.mixed("fit") != design.mixed("fit again")


def test_linear_layers_of_many_outputs_are_measured_at_every_pair_of_widths() -> None:
    fit, held_out = design.wide("fit"), design.wide("held out")
    assert all(128 <= spec.cout <= 320 and spec.cin <= 64 for spec in fit)
    assert Counter((spec.w_bits[0], spec.a_bits) for spec in fit if len(spec.w_bits) == 1) == dict.fromkeys(
        design.WIDTHS, design.WIDE
    )
    assert Counter(spec.a_bits for spec in fit if len(set(spec.w_bits)) > 1) == {8: 24, 4: 8}
    assert not set(fit) & set(held_out)


def test_shortest_vectors_and_any_number_of_channels_are_measured() -> None:
    narrow, pruned = design.narrow("fit"), design.pruned("fit")
    assert {(spec.w_bits[0], spec.a_bits) for spec in narrow if len(spec.w_bits) == 1} == set(design.WIDTHS)
    assert {spec.cin for spec in narrow} == set(range(4, 13))
    assert any(spec.cin * spec.a_bits % 8 for spec in pruned)
    assert {len(set(spec.w_bits)) > 1 for spec in pruned if spec.groups > 1} == {True, False}
    assert design.again("fit") != design.again("held out")
    assert {spec.op for spec in design.again("fit")} == {"conv", "max_pool"}


def test_sums_of_two_widths_get_kernels_of_their_own() -> None:
    alike = Spec("add", 8, 8, (4, 4))
    unlike = [spec for spec in design.unlike("fit") if (spec.a_bits, spec.other_bits, spec.out_bits) == (8, 4, 8)]
    assert unlike
    network = bench.layer_networks([alike, unlike[0]], "x")[0]
    parts = [of_op(network, op)[0] for op in network.ops]
    assert [part.other_bits for part in parts] == [None, 4]
    kernels = bench.kernels_of([network], registry.load("cortex-m55"))
    assert [kernels["x0"], kernels["x1"]] == ["add_mve", "add_plain"]


def test_layers_of_a_design_have_the_sizes_that_were_asked_for() -> None:
    spec = Spec("conv", 8, 16, (9, 7), (3, 5), (2, 2), w_bits=(8, 4), a_bits=4, out_bits=4)
    network = bench.layer_networks([spec], "x")[0]
    op = network.ops[0]
    assert isinstance(op, Conv)
    assert network.tensors[op.output].shape == (*spec.output, 16) == (5, 4, 16)
    assert network.macs(op) == spec.macs
    assert [part.w_bits for part in of_op(network, op)] == [8, 4]


def test_networks_are_valid_and_of_their_published_size() -> None:
    known = dict(networks.known())
    macs = {name: sum(network.macs(op) for op in network.ops) for name, network in known.items()}
    assert macs == {
        "resnet8": 12_501_632,
        "ds-cnn": 2_656_768,
        "mobilenetv1-025": 7_489_664,
        "autoencoder": 264_192,
    }
    assert len(dict(networks.searched())) == networks.SEARCHED


def test_the_host_counts_nothing() -> None:
    with pytest.raises(UsageError, match="nothing to calibrate"):
        bench.run(bench.layer_networks([Spec("linear", 8, 4)], "x")[0], registry.load("host"))


@pytest.mark.qemu
def test_a_table_of_other_kernels_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    target, lut = registry.load("cortex-m4"), luts.load("cortex-m4")
    now = bench.digest(calibrate._sample(), target)
    monkeypatch.setattr(calibrate, "check", lambda *_: lut.validation)
    for digest, warned in ((now, False), ("0" * 16, True)):
        monkeypatch.setattr(luts, "load", lambda _, digest=digest: lut.model_copy(update={"kernels": digest}))
        calibrate.validate_table("cortex-m4", QUIET)
        assert ("kernels have changed" in capsys.readouterr().err) is warned


def test_layers_are_measured_once_and_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_CACHE", str(tmp_path))
    target = bench.roomy(registry.load("cortex-m0plus"))
    same = Spec("max_pool", 8, 8, (8, 8), (2, 2), (2, 2), same=False)
    specs = [Spec("linear", 16, 8), Spec("conv", 4, 8, (5, 5), (3, 3), w_bits=(8, 4)), same, same]
    network = bench.layer_networks(specs, "x")[0]
    first = bench.run(network, target)
    assert [layer.name for layer in first.layers] == ["x0", "x1", "x2", "x3"]
    # Not folded into one function, which would leave the other with a jump.
    assert first.layers[2].instructions == first.layers[3].instructions > 16 * 8
    spent = sum(layer.instructions for layer in first.layers)
    assert spent < first.instructions < spent + 100
    points = calibrate.points_of(network, first)
    assert [len(point.parts) for point in points] == [1, 2, 1, 1]
    monkeypatch.setattr(bench, "_write", None)
    assert bench.run(network, target) == first


@pytest.mark.qemu
@pytest.mark.slow
def test_a_small_calibration_predicts_what_it_never_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLINIO_DEPLOY_CACHE", str(tmp_path))
    target = registry.load("cortex-m3")
    specs = [spec for spec in design.layers("fit") if spec.op == "linear" and spec.a_bits == 8][:30]
    held = [spec for spec in design.layers("held out") if spec.op == "linear" and spec.a_bits == 8][:10]
    found = calibrate.measure(specs, target, QUIET, "fit")
    table = fit(found.points, {}, calibrate._origin(target, found.runs))
    points: tuple[Point, ...] = calibrate.measure(held, target, QUIET, "held").points
    errors = sorted(
        abs(sum(float(table.predict(part)) for part in point.parts) / point.value - 1)
        for point in points
        if len(point.parts) == 1 and point.key in {p.key for p in found.points}
    )
    assert errors
    assert errors[len(errors) // 2] < 0.05


def test_no_layer_of_the_fit_validates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[Spec]] = []
    monkeypatch.setattr(calibrate, "validate", lambda lut, target, terminal, specs, part: found.append(specs))
    target, lut, effort = registry.load("cortex-m4"), luts.load("cortex-m4"), calibrate.Effort(0.05)
    calibrate.check(lut, target, Terminal(-1), effort, [])
    calibrate.check(lut, target, Terminal(-1), effort, found[0][:5])
    assert not set(found[0][:5]) & set(found[1])
    assert set(found[0][5:]) - set(found[0][:5]) == set(found[1])
