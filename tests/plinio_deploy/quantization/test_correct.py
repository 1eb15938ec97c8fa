# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization import QuantConfig, quantize
from tests.search.methods.mps.toys import Residual


def test_means_are_those_of_the_float_network() -> None:
    torch.manual_seed(0)
    model, x = Residual().eval(), torch.rand(64, 3, 8, 8)
    qnet = quantize(model, x[:1], QuantConfig(w_bits=2, a_bits=2)).calibrate([x])
    with torch.no_grad():
        exact = model(x)
        before = (qnet(x) - exact).mean(0).abs().max()
        after = (qnet.correct_biases((x, None))(x) - exact).mean(0).abs().max()
        error = (qnet(x) - exact).square().mean()
    assert float(after) < 0.2 * float(before)
    assert float(error) < float(exact.var())


def test_it_asks_for_calibration_first() -> None:
    with pytest.raises(UsageError, match="not calibrated"):
        quantize(torch.nn.Linear(3, 2), torch.zeros(1, 3)).correct_biases(torch.zeros(2, 3))
