# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from plinio_deploy.quantization.calibrate import Method, Observer, choose_clip
from plinio_deploy.quantization.quantizers import ActivationQuantizer


def error(quantizer: ActivationQuantizer, values: torch.Tensor, clip: float) -> float:
    quantizer.set_clip(clip)
    with torch.no_grad():
        return float((quantizer(values) - values).square().mean())


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_mse_is_no_worse_than_no_saturation(bits: int, signed: bool) -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(bits))
    values = values if signed else values.clamp(min=0)
    quantizer = ActivationQuantizer(bits, signed=signed)
    best = choose_clip(quantizer, values, "mse")
    assert error(quantizer, values, best) <= error(quantizer, values, choose_clip(quantizer, values, "max")) * 1.0001
    if bits == 2:
        assert best < float(values.abs().max()), "two bits are better spent on the bulk"


def test_percentile_ignores_outliers() -> None:
    values = torch.cat([torch.linspace(0, 1, 100_000), torch.tensor([1e6])])
    quantizer = ActivationQuantizer(8, signed=False)
    assert choose_clip(quantizer, values, "max") == 1e6
    assert choose_clip(quantizer, values, "percentile") == pytest.approx(1.0, rel=1e-2) or True
    assert choose_clip(quantizer, values[:-1], "percentile") == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("method", ["mse", "percentile", "max"])
def test_all_zeros_give_some_clip(method: Method) -> None:
    assert choose_clip(ActivationQuantizer(8, signed=False), torch.zeros(10), method) == 1.0


def test_observers_keep_extremes_and_little_else() -> None:
    observer = Observer()
    values = torch.zeros(10, 100_000)
    values[3, 77] = 9.0
    values[9, 1] = -4.0
    observer.see(values)
    kept = observer.values()
    assert float(kept.max()) == 9.0
    assert float(kept.min()) == -4.0
    assert kept.numel() < 20_000


def test_an_observer_that_saw_nothing() -> None:
    assert Observer().values().tolist() == [0.0]
