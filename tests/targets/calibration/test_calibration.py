# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plinio_deploy.errors import InvalidTargetFile, UsageError
from plinio_deploy.pipeline.calibration.table import dump
from plinio_deploy.targets import luts
from plinio_deploy.targets.calibration import nnls, residual
from plinio_deploy.targets.calibration.attributes import attributes
from plinio_deploy.targets.calibration.choice import choose, learn
from plinio_deploy.targets.calibration.counts import DIGITS, FEATURES, MIXED, PORTABLE, THUMB
from plinio_deploy.targets.calibration.features import feature, names
from plinio_deploy.targets.calibration.fitting import Origin, Point, fit, scaled
from plinio_deploy.targets.calibration.geometry import Geometry, inside_fraction, of_op
from plinio_deploy.targets.calibration.prediction import deviation, measured, predict
from plinio_deploy.targets.calibration.refitting import refit
from plinio_deploy.targets.luts import Lut, ResidualTable
from tests.networks import NETWORKS

ORIGIN = Origin("cortex-m4", "cycles", "model", "no wait states", {"gcc": "12"}, "digest", 7.0)


def conv(rng: random.Random, **fixed: object) -> Geometry:
    size, kernel = rng.choice((4, 7, 8, 12)), rng.choice((1, 3, 5))
    fields: dict[str, object] = {
        "op": "conv",
        "w_bits": 8,
        "a_bits": 8,
        "cin": rng.randint(1, 40),
        "cout": rng.randint(1, 40),
        "kernel": (kernel, kernel),
        "source": (size, size),
        "output": (size, size),
        "inside": (0.9, 0.8),
    }
    return Geometry(**{**fields, **fixed})  # type: ignore[arg-type]


def fast(at: Geometry) -> float:
    """A made-up core: blocks of four channels, two pixels at once, a copy of each patch."""
    return float(
        200
        + 3 * feature("columns", at)
        + 30 * feature("pair_blocks4", at)
        + 5.5 * feature("block_words", at)
        + 9 * feature("outputs", at)
    )


def slow(at: Geometry) -> float:
    return float(90 + 12 * feature("macs_inside", at) + 20 * feature("outputs", at))


def points(count: int, seed: int) -> list[Point]:
    """Narrow layers run on the slow kernel."""
    rng = random.Random(seed)
    found = [conv(rng) for _ in range(count)]
    return [Point((at,), *(("slow", slow(at)) if at.cin < 4 else ("fast", fast(at)))) for at in found]


@pytest.fixture(scope="module")
def lut() -> Lut:
    return fit(points(160, 1), {}, ORIGIN)


@given(
    st.integers(0, 2**31),
    st.integers(1, 6),
    st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_least_squares_finds_what_no_step_improves(seed: int, columns: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(rows, columns)), rng.normal(size=rows)
    x = nnls.solve(a, b)
    gradient = a.T @ (a @ x - b)
    assert np.all(x >= 0)
    scale = 1e-6 * (1 + np.linalg.norm(a) * np.linalg.norm(b))
    assert np.all(gradient >= -scale)
    assert np.all(np.abs(gradient[x > 1e-9]) <= scale)


def test_layers_outside_the_fit_are_predicted_and_kernels_told_apart(lut: Lut) -> None:
    held_out = points(60, 2)
    for point in held_out:
        term, _ = lut.choose(point.at)
        assert term.kernel == point.kernel
    errors = [abs(lut.predict(point.at) / point.value - 1) for point in held_out]
    assert np.median(errors) < 0.005
    assert np.quantile(errors, 0.9) < 0.05
    assert lut.fit is not None
    assert lut.fit.p95 < 0.01


def test_a_width_of_few_layers_costs_what_the_others_do() -> None:
    rng = random.Random(8)
    many = [conv(rng) for _ in range(60)]
    few = [conv(rng, w_bits=2, out_bits=bits) for bits in (8, 8, 4)]
    found = fit([Point((at,), "fast", fast(at)) for at in (*many, *few)], {}, ORIGIN)
    unseen = [conv(rng, w_bits=2, out_bits=8) for _ in range(30)]
    assert np.median([abs(found.predict(at) / fast(at) - 1) for at in unseen]) < 0.02
    packed = {row.coefficients.get("outputs4", 0.0) for row in found.terms}
    assert len(packed) == 1


def test_what_the_form_cannot_say_is_interpolated() -> None:
    def odd(at: Geometry) -> float:
        return fast(at) * (1.3 if at.cin == 8 else 1.0)

    rng = random.Random(3)
    layers = [conv(rng, cin=rng.choice((3, 3, 8, 16))) for _ in range(120)]
    table = fit([Point((at,), "fast", odd(at)) for at in layers], {}, ORIGIN)
    plain = Lut.model_validate({**table.model_dump(mode="json", by_alias=True), "residuals": []})
    new = [conv(rng, cin=rng.choice((3, 8, 16))) for _ in range(40)]
    errors = [abs(table.predict(at) / odd(at) - 1) for at in new]
    without = [abs(plain.predict(at) / odd(at) - 1) for at in new]
    assert np.median(errors) < 0.02 < 0.04 < np.median(without)


def test_counts_of_one_instruction_set_are_offered_to_its_kernels_alone() -> None:
    at = conv(random.Random(1))
    thumb, dsp, plain = (set(names(at, kernel)) for kernel in ("conv_thumb2", "conv_dsp", "conv_plain"))
    assert thumb - dsp == set(THUMB)
    assert "turn_words" in dsp - thumb - plain
    assert plain - thumb == set(MIXED)
    assert plain - set(MIXED) < thumb
    assert set(PORTABLE) <= plain
    assert dsp >= set(DIGITS)
    assert not (thumb | plain) & set(DIGITS)


def test_what_is_interpolated_survives_being_written() -> None:
    """Close neighbours on a smooth curve: their weights are great, and nearly cancel each other."""
    layer = attributes(conv(random.Random(4)))
    entries = [{**layer, "cin": 3 * i / 160} for i in range(160)]
    logs = [0.6 * (i / 160) ** 2 for i in range(160)]
    found = residual.fit(entries, logs)
    written = ResidualTable(
        kernel="fast",
        scales=dict(found.scales),
        signal=found.signal,
        noise=found.noise,
        points=found.points.tolist(),
        weights=found.weights.tolist(),
    )
    again = ResidualTable.model_validate_json(written.model_dump_json()).interpolation
    assert max(abs(again.at(entry) - log) for entry, log in zip(entries, logs, strict=True)) < 0.01
    assert np.array_equal(found.points, again.points)


def test_a_table_survives_its_file(lut: Lut) -> None:
    text = dump(lut)
    again = luts.parse(text, "cortex-m4.json")
    assert dump(again) == text
    at = points(1, 5)[0].at
    assert again.predict(at) == pytest.approx(lut.predict(at), rel=1e-12)


def test_parts_that_do_not_fit_together_are_refused(lut: Lut) -> None:
    document = json.loads(dump(lut))
    document["choices"][0]["tree"] = ["cin", 1.0, "fast", "nobody"]
    with pytest.raises(InvalidTargetFile, match="a kernel it has no row for"):
        luts.parse(json.dumps(document), "cortex-m4.json")
    document["choices"][0]["tree"] = ["moon", 1.0, "fast", "slow"]
    with pytest.raises(InvalidTargetFile, match="broken tree"):
        luts.parse(json.dumps(document), "cortex-m4.json")


def test_a_layer_of_two_widths_costs_what_its_parts_cost_and_fixed_work_once() -> None:
    whole = Geometry("conv", 8, 8, 16, 16, kernel=(3, 3), source=(8, 8), output=(8, 8))
    half = Geometry("conv", 8, 8, 16, 8, share=0.5, kernel=(3, 3), source=(8, 8), output=(8, 8))
    for name in names(whole, "conv_thumb1"):
        parts = 1 if name == "calls" else 2  # each width is called for by itself
        assert parts * feature(name, half) == feature(name, whole), name


def test_all_features_are_known_and_none_is_negative() -> None:
    rng = random.Random(4)
    for name in FEATURES:
        assert feature(name, conv(rng)) >= 0


@pytest.mark.parametrize(
    ("size", "output", "kernel", "stride", "before", "expected"),
    [(8, 8, 3, 1, 1, 22 / 24), (8, 4, 3, 2, 0, 11 / 12), (5, 3, 3, 1, 0, 1.0), (1, 1, 3, 1, 1, 1 / 3)],
)
def test_taps_inside(size: int, output: int, kernel: int, stride: int, before: int, expected: float) -> None:
    assert inside_fraction(size, output, kernel, stride, before) == pytest.approx(expected)


def test_every_op_of_the_grammar_is_described() -> None:
    for make in NETWORKS.values():
        network = make("hi32")
        for op in network.ops:
            parts = of_op(network, op)
            assert bool(parts) == (op.kind != "reshape")
            if network.macs(op):
                assert sum(feature("macs", part) for part in parts) == pytest.approx(network.macs(op))
                assert sum(part.share for part in parts) == pytest.approx(1)


def test_a_tree_asks_until_kernels_are_told_apart() -> None:
    rng = random.Random(6)
    layers = [conv(rng) for _ in range(300)]
    rule = {id(at): "a" if at.cin % 4 == 0 and at.cout > 8 else "b" if at.kernel[0] == 1 else "c" for at in layers}
    tree = learn([(attributes(at), rule[id(at)]) for at in layers])
    assert all(choose(tree, attributes(at)) == rule[id(at)] for at in layers)


def test_nothing_left_over_needs_no_points() -> None:
    rng = random.Random(7)
    assert not len(residual.fit([attributes(conv(rng)) for _ in range(20)], [0.0] * 20).weights)


def test_best_scaling_is_the_one_of_least_median_error() -> None:
    assert scaled([1, 2, 3, 4], [2, 4, 6, 80]) == 2


def _table_for(network_name: str) -> tuple[Lut, object]:
    network = NETWORKS[network_name]("hi32")
    parts = [part for op in network.ops for part in of_op(network, op)]
    rng = random.Random(8)
    found = []
    for part in parts:
        for _ in range(6):
            at = part if part.w_bits is None else conv(rng, op=part.op, w_bits=part.w_bits, a_bits=part.a_bits)
            found.append(Point((at,), f"{part.op}_{part.w_bits}", slow(at)))
    return fit(found, {}, ORIGIN), network


def test_a_network_is_predicted_compared_and_learned_from() -> None:
    lut, network = _table_for("digits_cnn")
    said = predict(lut, network)  # type: ignore[arg-type]
    assert said.total == pytest.approx(sum(said.layers.values()) + 7.0 * len(said.layers))
    layers = [{"name": name, "cycles": round(1.25 * value)} for name, value in said.layers.items()]
    measurement = {"target": "cortex-m4", "total": {"cycles": round(1.25 * said.total)}, "layers": layers}
    assert deviation(lut, network, measurement) == pytest.approx(-0.2, abs=1e-3)  # type: ignore[arg-type]
    again = refit(lut, network, measurement)  # type: ignore[arg-type]
    assert abs(deviation(again, network, measurement)) < 0.02  # type: ignore[arg-type]
    assert again.validation is None
    with pytest.raises(UsageError, match="cannot be compared"):
        measured(lut, {**measurement, "target": "cortex-m7"})
