# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plinio_deploy.fixedpoint import choose_hi32
from plinio_deploy.integerize.compare import trace_codes
from plinio_deploy.integerize.lower import lower
from plinio_deploy.integerize.requant import requant_parameters
from plinio_deploy.quantization import quantize
from plinio_deploy.quantization.rounding import NUDGE, least_nudged, preferred_shift, representable_bias


@given(st.floats(1e-6, 50.0))
def test_the_shift_is_the_integer_sides(scale: float) -> None:
    assert int(preferred_shift(torch.tensor(scale, dtype=torch.float64))) == choose_hi32(np.array([scale]), 1000).shift


@given(st.floats(1e-5, 0.9), st.floats(-1e4, 1e4), st.floats(1e-4, 1e-1), st.booleans())
def test_the_bias_is_the_one_the_chip_adds(scale: float, bias: float, unit: float, nudged: bool) -> None:
    found = representable_bias(
        torch.tensor([bias * unit], dtype=torch.float64),
        torch.tensor([unit], dtype=torch.float64),
        torch.tensor([scale], dtype=torch.float64),
        nudged=nudged,
    )
    chosen = requant_parameters(np.array([scale]), np.array([bias * unit / unit]), np.zeros(1, dtype=np.int64), 1000)
    half = 2.0**31 / float(chosen.multiplier[0])
    integer = (float(chosen.bias[0]) - half) / (1 << chosen.shift)
    nudge = NUDGE * 256 / scale if nudged and scale >= least_nudged(8) else 0.0
    assert float(found) / unit - nudge == pytest.approx(integer, abs=1e-4 * max(1.0, abs(integer)) * 1e-3)


def test_no_gradient_passes() -> None:
    bias = torch.zeros(3, requires_grad=True)
    assert not representable_bias(bias, torch.ones(3), torch.full((3,), 0.01)).requires_grad


@pytest.mark.parametrize(("relu", "most"), [(True, 5), (False, 14)])
def test_float_sums_round_as_the_chip_does(relu: bool, most: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU() if relu else nn.Identity())
    x = torch.rand(2000, 64)
    qnet = quantize(model, x[:1]).calibrate([x]).eval()
    made = lower(qnet)
    name = qnet.outputs[0]
    codes = trace_codes(made, x)[name]
    scale = made.network.tensors[name].scale
    found = torch.round(qnet(x).detach().double() / scale)
    assert np.count_nonzero(found.numpy() != codes) <= most  # of 512,000
    with torch.no_grad():
        found = torch.round(qnet(x).double() / scale)
    assert np.array_equal(found.numpy(), codes)
