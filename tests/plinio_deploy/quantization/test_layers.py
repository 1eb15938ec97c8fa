# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
import torch.nn.functional as functional

from plinio_deploy.quantization.graph import AvgPool, Conv, Linear, MaxPool
from plinio_deploy.quantization.layers import QuantLayer, apply_layer, pad, window_max, window_sum

X = torch.randn(2, 4, 6, 7, generator=torch.Generator().manual_seed(0))


def test_every_layer_has_a_bias() -> None:
    layer = QuantLayer(torch.ones(3, 2), None, (8, 4, 2), learned=True)
    assert layer.bias.tolist() == [0, 0, 0]
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias", "weight_quantizer.log_step"}


def test_steps_are_trained_on_request() -> None:
    assert QuantLayer(torch.ones(1, 2), None, (8,), learned=True).weight_quantizer.log_step.requires_grad
    assert not QuantLayer(torch.ones(1, 2), None, (8,), learned=False).weight_quantizer.log_step.requires_grad


def test_quantized_weights_are_on_their_grid() -> None:
    layer = QuantLayer(torch.randn(3, 5), None, (2, 4, 8), learned=True)
    ratio = layer.quantized_weight() / layer.weight_quantizer.scale.unsqueeze(1)
    torch.testing.assert_close(ratio, layer.weight_quantizer.codes(layer.weight).float())


def test_uneven_padding_is_done_by_hand() -> None:
    weight, bias = torch.randn(2, 4, 2, 3), torch.randn(2)
    operator = Conv("k", (1, 2), (0, 1, 1, 1), (1, 1), 1, 2)
    expected = functional.conv2d(functional.pad(X, (1, 1, 0, 1)), weight, bias, (1, 2))
    torch.testing.assert_close(apply_layer(operator, X, weight, bias), expected)


def test_one_dimension_is_height_one() -> None:
    x, weight = X[:, :, 0], torch.randn(2, 4, 1, 3)
    operator = Conv("k", (1, 1), (0, 0, 1, 1), (1, 1), 1, 1)
    torch.testing.assert_close(
        apply_layer(operator, x, weight, torch.zeros(2)), functional.conv1d(x, weight[:, :, 0], padding=1)
    )


def test_linear_works_on_the_last_dimension() -> None:
    weight = torch.randn(3, 7)
    torch.testing.assert_close(apply_layer(Linear("k"), X, weight, torch.zeros(3)), X @ weight.T)


def test_windows() -> None:
    average = AvgPool((3, 3), (2, 2), (1, 1, 1, 1), 9, 2)
    torch.testing.assert_close(window_sum(average, X), functional.avg_pool2d(X, 3, 2, 1))
    uneven = AvgPool((2, 2), (2, 2), (0, 1, 0, 0), 4, 2)
    torch.testing.assert_close(window_sum(uneven, X), functional.avg_pool2d(functional.pad(X, (0, 0, 0, 1)), 2))
    greatest = MaxPool((2, 2), (2, 2), (0, 0, 0, 1), (1, 1), 2)
    torch.testing.assert_close(window_max(greatest, X - 100), functional.max_pool2d(X - 100, 2, ceil_mode=True))


def test_padding_is_top_bottom_left_right() -> None:
    assert pad(torch.ones(1, 1, 1, 1), (1, 2, 3, 4)).shape == (1, 1, 4, 8)


def test_channels_of_0_bits_are_exactly_0_and_are_not_trained() -> None:
    torch.manual_seed(0)
    layer = QuantLayer(torch.randn(3, 2, 1, 1), torch.randn(3), (8, 0, 2), learned=True)
    weight, bias = layer.quantized_weight(), layer.real_bias()
    assert torch.equal(weight[1], torch.zeros(2, 1, 1))
    assert float(bias[1].detach()) == 0.0
    assert torch.isfinite(layer.weight_quantizer.scale).all()
    (weight.square().sum() + weight.sum() + bias.sum()).backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert torch.equal(layer.weight.grad[1], torch.zeros(2, 1, 1))
    assert layer.bias.grad.tolist() == [1.0, 0.0, 1.0]
    assert layer.weight.grad[0].abs().sum() > 0


def test_pruning_does_not_change_the_other_channels_steps() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 4)
    whole, pruned = (QuantLayer(weight, None, bits, learned=True) for bits in ((8, 4, 2), (8, 0, 2)))
    assert torch.equal(whole.weight_quantizer.scale[[0, 2]], pruned.weight_quantizer.scale[[0, 2]])
