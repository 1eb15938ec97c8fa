# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization import capture
from plinio_deploy.quantization.graph import AvgPool, Conv, MaxPool, Pad
from tests.plinio_deploy.quantization.test_capture import Lambda, same_as_float

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "valid": (nn.Conv2d(2, 3, 3, padding="valid"), (2, 6, 7)),
    "same": (nn.Conv2d(2, 3, 3, padding="same"), (2, 6, 7)),
    "same-even": (nn.Conv2d(2, 3, (2, 4), padding="same"), (2, 6, 7)),
    "same-dilated": (nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)), (2, 6, 7)),
    "strided": (nn.Conv2d(2, 3, 3, padding=(1, 2), stride=(2, 1)), (2, 6, 7)),
    "groups": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), (4, 5, 5)),
    "conv1d": (nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 9)),
    "conv1d-same": (nn.Conv1d(2, 3, 4, padding="same"), (2, 9)),
    "max": (nn.MaxPool2d(3, 2, padding=1), (2, 6, 7)),
    "max-dilated": (nn.MaxPool2d(2, 1, dilation=2), (2, 6, 7)),
    "max-ceil": (nn.MaxPool2d(2, ceil_mode=True), (2, 5, 7)),
    "max-ceil-strided": (nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), (2, 6, 6)),
    "max1d": (nn.MaxPool1d(2, ceil_mode=True), (2, 9)),
    "avg": (nn.AvgPool2d(2), (2, 6, 7)),
    "avg-padded": (nn.AvgPool2d(3, 2, padding=1), (2, 6, 7)),
    "avg-divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 6, 7)),
    "avg-ceil-exact": (nn.AvgPool2d(2, ceil_mode=True), (2, 6, 8)),
    "avg1d": (nn.AvgPool1d(3, 2, padding=1), (2, 9)),
    "adaptive-avg": (nn.AdaptiveAvgPool2d((3, None)), (2, 6, 7)),
    "adaptive-max": (nn.AdaptiveMaxPool2d(1), (2, 6, 7)),
    "adaptive-avg1d": (nn.AdaptiveAvgPool1d(3), (2, 9)),
    "pad": (nn.ZeroPad2d((1, 2, 3, 0)), (2, 6, 7)),
    "pad1d": (nn.ConstantPad1d((1, 2), 0.0), (2, 9)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", LAYERS)
def test_captured_layers_compute_what_torch_does(name: str) -> None:
    layer, shape = LAYERS[name]
    torch.manual_seed(0)
    same_as_float(layer, torch.randn(3, *shape))


def test_same_padding_puts_the_odd_element_last() -> None:
    operator = capture(LAYERS["same-even"][0], torch.zeros(1, 2, 6, 7)).nodes[-1].operator
    assert isinstance(operator, Conv)
    assert operator.padding == (0, 1, 1, 2)


def test_one_dimensional_layers_have_height_one() -> None:
    operator = capture(LAYERS["conv1d"][0], torch.zeros(1, 2, 9)).nodes[-1].operator
    assert isinstance(operator, Conv)
    assert (operator.stride, operator.padding, operator.spatial) == ((1, 2), (0, 0, 1, 1), 1)


def test_ceil_mode_is_padding_at_the_end() -> None:
    operator = capture(LAYERS["max-ceil"][0], torch.zeros(1, 2, 5, 7)).nodes[-1].operator
    assert operator == MaxPool((2, 2), (2, 2), (0, 1, 0, 1), (1, 1), 2)


def test_average_pooling_keeps_its_divisor() -> None:
    operator = capture(LAYERS["avg-divisor"][0], torch.zeros(1, 2, 6, 7)).nodes[-1].operator
    assert operator == AvgPool((2, 2), (2, 2), (0, 0, 0, 0), 3, 2)


def test_padding_counts_from_the_last_dimension() -> None:
    operator = capture(LAYERS["pad"][0], torch.zeros(1, 2, 6, 7)).nodes[-1].operator
    assert operator == Pad((3, 0, 1, 2), 2)


def test_weights_that_the_network_computes_are_refused() -> None:
    model = Lambda(lambda self, x: functional.conv2d(x, torch.relu(x)))
    with pytest.raises(UnsupportedModel) as caught:
        capture(model, torch.zeros(1, 2, 2, 2))
    assert "computed weight" in str(caught.value)


def test_a_convolution_without_batch_is_refused() -> None:
    model = Lambda(lambda self, x: self.conv(x), conv=nn.Conv2d(2, 3, 1))
    with pytest.raises(UnsupportedModel):
        capture(model, torch.zeros(1, 5, 5))
