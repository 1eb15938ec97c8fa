# SPDX-License-Identifier: Apache-2.0
"""The rules here against those of the code generator, which this package does not import."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen import mve, thumb
from plinio_deploy.codegen.dsp import blocks
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.rv32.gemm import gemm_of
from plinio_deploy.network import Linear, Tensor, Weights
from plinio_deploy.pipeline.calibration.micro import Builder, Spec
from plinio_deploy.targets.calibration.packing import has_digits, packed

WIDTHS = st.lists(st.sampled_from([8, 4, 2]), min_size=1, max_size=80)


def linear(bits: list[int], seed: int = 0) -> tuple[Linear, Tensor]:
    """A layer deep enough to be packed as it is, and what it reads."""
    built = Builder("net", seed)
    built.add(Spec("linear", 40, len(bits), w_bits=tuple(bits)), "fc")
    (op,) = built.ops
    assert isinstance(op, Linear)
    return op, built.tensors[op.input]


@given(WIDTHS)
def test_dsp_kernels_pack_fours_like_the_widest(bits: list[int]) -> None:
    op, source = linear(bits)
    runs = blocks.runs(op, blocks.sums(op, source))
    assert runs is not None
    assert packed("linear_dsp", bits) == tuple(run.variant.bits for run in runs for _ in range(run.channels))


@given(WIDTHS)
def test_matrix_products_of_risc_v_have_few_runs(bits: list[int]) -> None:
    op, source = linear(bits)
    output = Tensor(op.output, (len(bits),), 8, False, 1.0, 0)
    gemm = gemm_of(Site(op, (source,), output, 40 * len(bits), frozenset(("rv32im",)), may_alias=False))
    assert gemm is not None
    assert packed("gemm_rv32", bits) == tuple(run.bits for run in gemm.runs for _ in range(run.first, run.end))


@given(WIDTHS)
def test_dot_products_of_vectors_and_of_small_cores_take_whole_groups(bits: list[int]) -> None:
    op, _ = linear(bits)
    for kernel in ("conv_mve", "linear_mve"):
        assert packed(kernel, bits) == mve.widths_of(op)
    for kernel in ("conv_thumb1", "linear_thumb1", "conv_thumb2", "linear_thumb2"):
        assert packed(kernel, bits) == thumb.widths_of(op)


@given(WIDTHS)
def test_no_channel_gets_fewer_bits_than_it_has(bits: list[int]) -> None:
    for kernel in ("conv_dsp", "gemm_rv32", "gemm_xpulp", "conv_mve", "linear_thumb1", None):
        assert all(wide >= own for wide, own in zip(packed(kernel, bits), bits, strict=True))
    assert packed(None, bits) == packed("depthwise_mve", bits) == packed("depthwise_thumb1", bits) == tuple(bits)


def test_a_run_with_a_rest_takes_channels_of_the_next() -> None:
    assert packed("conv_dsp", [8] * 3 + [4] * 13) == (8,) * 4 + (4,) * 12
    assert packed("gemm_rv32", [8] * 3 + [4] * 13) == (8,) * 3 + (4,) * 13


@pytest.mark.parametrize(("first", "second", "found"), [(-1, -128, True), (0, -128, False), (-1, -127, False)])
def test_digits_are_what_cannot_be_packed_as_it_is(first: int, second: int, found: bool) -> None:
    op, source = linear([8] * 6)
    codes = np.maximum(op.weights.codes, -127)
    codes[2, 5], codes[3, 5] = first, second
    weights = Weights(codes, op.weights.bits)
    assert has_digits(weights, op.weights.bits) == found
    layer = Linear(op.name, op.input, op.output, weights, op.bias, op.requant)
    runs = blocks.runs(layer, blocks.sums(layer, source))
    assert runs is not None
    assert [run.variant.name for run in runs] == ["digit8" if found else "raw8"]
