# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization import LayerConfig, QuantConfig, capture, quantize

MODEL = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
X = torch.zeros(1, 1, 8, 8)


def test_layers_are_named_by_module_path() -> None:
    network = quantize(MODEL, X, QuantConfig(w_bits=8, layers={"2": LayerConfig(w_bits=4), "0": LayerConfig(a_bits=2)}))
    assert network.layer("layer_0").weight_quantizer.bits == (8,) * 4
    assert network.layer("layer_2").weight_quantizer.bits == (4, 4)
    assert network.quantizer("layer_0").bits == 2
    assert network.quantizer("layer_2").bits == 8


def test_widths_per_channel() -> None:
    network = quantize(MODEL, X, QuantConfig(layers={"0": LayerConfig(w_bits=(2, 4, 8, 2))}))
    assert network.layer("layer_0").weight_quantizer.bits == (2, 4, 8, 2)


def test_a_key_that_names_no_layer_is_refused_with_the_closest() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.stem(x)
            return result

    with pytest.raises(UsageError) as caught:
        quantize(Model(), X, QuantConfig(layers={"stemm": LayerConfig(w_bits=4)}))
    assert "Did you mean 'stem'?" in str(caught.value)
    with pytest.raises(UsageError, match="names no layer") as caught:
        quantize(Model(), X, QuantConfig(layers={"zzz": LayerConfig(w_bits=4)}))
    assert "stem" in str(caught.value)


@pytest.mark.parametrize("widths", [(8, 8), (8, 8, 8, 8, 8)])
def test_one_width_per_channel(widths: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="number of bit widths"):
        quantize(MODEL, X, QuantConfig(layers={"0": LayerConfig(w_bits=widths)}))


@pytest.mark.parametrize("config", [QuantConfig(w_bits=3), QuantConfig(a_bits=16), QuantConfig(input_bits=1)])
def test_unknown_widths_are_refused(config: QuantConfig) -> None:
    with pytest.raises(UsageError, match="unknown bit width"):
        quantize(MODEL, X, config)


def test_input_ranges_one_or_one_each() -> None:
    assert QuantConfig(input_range=(-1, 1)).range_of(3) == (-1.0, 1.0)
    several = QuantConfig(input_range=((0.0, 1.0), (-2.0, 2.0)))
    assert several.range_of(1) == (-2.0, 2.0)
    with pytest.raises(UsageError, match="too few"):
        several.range_of(2)


def test_check_accepts_operators_by_caller_and_name() -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x

    QuantConfig(layers={"add": LayerConfig(a_bits=4)}).check(capture(Sum(), X))


def test_unknown_kinds_of_scales_are_refused() -> None:
    with pytest.raises(UsageError, match="kind of scales"):
        quantize(MODEL, X, QuantConfig(linear_scales="row"))  # type: ignore[arg-type]
