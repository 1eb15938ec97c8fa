# SPDX-License-Identifier: Apache-2.0
"""Exact counts against what the code generator does, and against going through every address."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plinio_deploy.codegen.dsp.columns import columns
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.mve_depthwise import products as mve_products
from plinio_deploy.codegen.ops.depthwise_mve import DepthwiseMve
from plinio_deploy.codegen.ops.depthwise_rv32 import DepthwiseRv32
from plinio_deploy.codegen.rv32.depthwise import products as rv32_products
from plinio_deploy.codegen.rv32.gemm import block_pixels, gemm_of
from plinio_deploy.codegen.thumb import products_of
from plinio_deploy.network import Conv, Linear, Network
from plinio_deploy.pipeline.calibration.micro import Builder, Spec
from plinio_deploy.targets.calibration import exact
from plinio_deploy.targets.calibration.counts import FEATURES, GATHERED, SMOOTH
from plinio_deploy.targets.calibration.exact import EXACT
from plinio_deploy.targets.calibration.geometry import Geometry, of_op


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    op = draw(st.sampled_from(("conv", "conv", "depthwise", "linear", "copy")))
    a_bits = draw(st.sampled_from((8, 8, 4, 2)))
    cin, cout = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if op == "linear":
        return Spec("linear", cin, cout, a_bits=a_bits)
    size = (draw(st.integers(5, 9)), draw(st.integers(5, 9)))
    if op == "copy":
        return Spec("copy", cin, 2 * cin, size, a_bits=a_bits)
    kernel = (draw(st.sampled_from((1, 3, 5))), draw(st.sampled_from((1, 3, 5))))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    same = draw(st.booleans())
    groups = cin if op == "depthwise" and cin > 1 else 1
    return Spec(
        "conv", cin, cin if groups > 1 else cout, size, kernel, stride, same, same and draw(st.booleans()), groups,
        (draw(st.sampled_from((8, 4, 2))),), a_bits,
    )  # fmt: skip


def built(spec: Spec) -> tuple[Network, Geometry]:
    builder = Builder("one", 0)
    network = builder.build([builder.add(spec, "only").name])
    return network, of_op(network, network.ops[0])[0]


@settings(max_examples=60, deadline=None)
@given(specs())
def test_turns_are_those_of_the_code_generator(spec: Spec) -> None:
    network, at = built(spec)
    op = network.ops[0]
    if not isinstance(op, Conv | Linear) or at.op == "depthwise":
        return
    source = network.tensors[op.input]
    layout = columns(op, source, 4 if isinstance(op, Linear) else 2)
    assert exact.halves(at) == layout.used
    assert exact.turns(layout.used, 4 if isinstance(op, Linear) else 2) == (layout.unroll, layout.turns)
    pairs, blocks = -(-at.positions // 2), -(-int(at.cout) // 4)
    assert EXACT["turn_words"](at) == pairs * blocks * layout.words
    gemm = gemm_of(Site.of(network, op, frozenset(("rv32im",)), may_alias=False))
    if gemm is not None and at.w_bits == 8:
        assert EXACT["steps"](at) == -(-gemm.pixels // block_pixels(gemm, 4))


@settings(max_examples=60, deadline=None)
@given(specs())
def test_addresses_are_those_of_the_loops(spec: Spec) -> None:
    _, at = built(spec)
    row = -(-int(at.cin) * at.a_bits // 8)
    if at.op in ("conv", "pointwise"):
        found = [0] * 4
        for oy in range(at.output[0]):
            for ox in range(at.output[1]):
                x = ox * at.stride[1] - at.before[1]
                for ky in range(int(at.kernel[0])):
                    y = oy * at.stride[0] - at.before[0] + ky
                    if 0 <= y < at.source[0] and 0 <= x <= at.source[1] - at.kernel[1]:
                        found[(y * at.source[1] + x) * row % 4] += int(at.kernel[1]) * row // 4
        assert EXACT["odd_words"](at) == found[1] + found[3]
        assert EXACT["even_words"](at) == found[2]
    if at.op == "copy":
        moved = EXACT["copied_words"](at) * 4 + EXACT["copied_bytes"](at)
        assert moved == 2 * at.positions * row
        if row % 4 == 0:
            assert EXACT["copied_bytes"](at) == 0
        if row % 2 == 1:
            assert EXACT["copied_words"](at) < at.positions * row / 4


def variables(kernel: Kernel, spec: Spec, isa: str) -> tuple[Geometry, Any]:
    """A layer, and what a template is told about it; None if the kernel cannot execute it."""
    network, at = built(spec)
    site = Site.of(network, network.ops[0], frozenset((isa,)), may_alias=False)
    emitter = cast("Emitter", SimpleNamespace(array=str))
    return at, kernel.variables(site, emitter) if kernel.handles(site) else None


@settings(max_examples=60, deadline=None)
@given(specs())
def test_blocks_of_pixels_are_those_of_the_code_generator(spec: Spec) -> None:
    at, told = variables(DepthwiseRv32(), spec, "rv32im")
    if told is None:
        return
    plan = told["plan"]
    blocks = at.output[0] * -(-(plan.end - plan.begin) // plan.block)
    channels, taps = int(at.cout), int(at.kernel[0]) * int(at.kernel[1])
    assert EXACT["line_calls"](at) == blocks
    assert EXACT["line_taps"](at) == blocks * channels * taps
    assert EXACT["line_products"](at) == blocks * plan.block * channels * taps
    assert EXACT["border_copies"](at) == at.output[0] * len(plan.borders) * taps
    loads = [line for line in rv32_products(plan.row, plan.block) if line.startswith(("lb t", "lbu t"))]
    assert EXACT["line_loads"](at) == blocks * channels * len(loads)


@settings(max_examples=60, deadline=None)
@given(specs())
def test_windows_of_eight_channels_are_those_of_the_code_generator(spec: Spec) -> None:
    at, told = variables(DepthwiseMve(), spec, "mve")
    if told is None:
        return
    assert (EXACT["ring_rows"](at) == 0) == told["direct"]
    if told["pixels"] == 1:
        return
    lines = mve_products(told["what"], 2)
    turns = at.output[0] * -(-at.output[1] // 2) * -(-int(at.cin) // 8)
    assert EXACT["window_taps"](at) == turns * sum(line.startswith("vldrb.s16 q0") for line in lines)
    far = [line for line in lines if line.startswith("addw r2")]
    assert EXACT["far_taps"](at) == turns * len(far)


@settings(max_examples=60, deadline=None)
@given(specs())
def test_patches_are_those_that_cores_without_packed_arithmetic_copy(spec: Spec) -> None:
    network, at = built(spec)
    op = network.ops[0]
    if not isinstance(op, Conv | Linear) or at.op == "depthwise":
        return
    source, output = network.tensors[op.input], network.tensors[op.output]
    total, row = at.positions, int(at.kernel[1]) * int(at.cin)
    layout = products_of(op, source, output, 1 if total == 1 else 2)
    groups = -(-total // 2) * -(-int(at.cout) // 4)
    assert EXACT["lone_products" if total == 1 else "padded_products"](at) == groups * layout.padded
    assert EXACT["padded_products" if total == 1 else "lone_products"](at) == 0
    assert EXACT["loose_blocks"](at) == (groups if int(at.cout) % 4 else 0)
    found = [0] * 4
    for oy in range(at.output[0]):
        for ky in range(int(at.kernel[0])):
            above = 0 <= oy * at.stride[0] - at.before[0] + ky < at.source[0]
            for ox in range(at.output[1]):
                x = ox * at.stride[1] - at.before[1]
                inside = [0 <= x + kx < at.source[1] for kx in range(int(at.kernel[1]))]
                length = int(at.cin) * sum(inside) if above else 0
                whole, rest = divmod(length, 8 if at.a_bits == 8 else 8 // at.a_bits)
                for index, count in enumerate((length > 0, whole, rest, row - length)):
                    found[index] += count
    again = 1.0 if total == 1 else 2 * -(-total // 2) / total  # of an odd number the first is computed twice
    names = ("patch_rows", "patch_turns", "patch_ones", "patch_fill")
    assert [EXACT[name](at) for name in names] == pytest.approx([count * again for count in found])


@pytest.mark.parametrize("name", EXACT)
def test_every_exact_count_has_a_meaning_and_a_smooth_one(name: str) -> None:
    assert name in FEATURES
    assert SMOOTH[name] not in EXACT  # type: ignore[index]
    rng = random.Random(1)
    for _ in range(20):
        spec = Spec("conv", rng.randint(1, 30), rng.randint(1, 30), (8, 8), (3, 3), w_bits=(rng.choice((8, 4, 2)),))
        assert EXACT[name](built(spec)[1]) >= 0


def gathered_one_by_one(spec: Spec, at: Geometry) -> list[float]:
    """What the C of a patch does, pixel after pixel, in the order of `GATHERED`."""
    copies = words = loose = clears = zeros = 0
    cin, (high, wide) = spec.cin, spec.size
    (rows, columns), whole = spec.kernel, spec.a_bits == 8

    def copy(source: int, to: int, count: int) -> None:
        nonlocal copies, words, loose
        copies += 1
        aligned = whole and source % 4 == to % 4 == count % 4 == 0
        words += count // 4 if aligned else 0
        loose += 0 if aligned else count

    def clear(count: int) -> None:
        nonlocal clears, zeros
        clears, zeros = clears + 1, zeros + count

    for pixel in range(at.positions):
        top = pixel // at.output[1] * at.stride[0] - at.before[0]
        left = pixel % at.output[1] * at.stride[1] - at.before[1]
        for ky in range(rows):
            if not 0 <= top + ky < high:
                clear(columns * cin)
            elif whole and 0 <= left <= wide - columns:
                copy(((top + ky) * wide + left) * cin, ky * columns * cin, columns * cin)
            else:
                for kx in range(columns):
                    if 0 <= left + kx < wide:
                        copy(((top + ky) * wide + left + kx) * cin, (ky * columns + kx) * cin, cin)
                    else:
                        clear(cin)
    divided = (rows, columns, *spec.stride) != (1, 1, 1, 1) or any(at.before)
    hard = divided and at.output[1] not in (1, 2, 4, 8, 16, 32)
    return [copies, words, loose, clears, zeros, hard * at.positions]


@settings(max_examples=60, deadline=None)
@given(specs().filter(lambda spec: spec.op == "conv" and spec.groups == 1))
def test_patches_of_rv32_are_gathered_as_counted(spec: Spec) -> None:
    _, at = built(spec)
    again = EXACT["step_codes"](at) / (spec.cout * at.positions)  # the last block may overlap the one before it
    where_they_lie = spec.kernel == spec.stride == (1, 1) and spec.a_bits == 8 and spec.cin % 4 == 0
    expected = [0.0] * 6 if where_they_lie else [again * count for count in gathered_one_by_one(spec, at)]
    assert [EXACT[name](at) for name in GATHERED] == pytest.approx(expected)
