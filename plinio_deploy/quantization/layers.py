# SPDX-License-Identifier: Apache-2.0
"""Layers with weights: what is trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from plinio_deploy.quantization.graph import AvgPool, Conv, Linear, MaxPool, Padding
from plinio_deploy.quantization.quantizers import WeightQuantizer
from plinio_deploy.quantization.rounding import sums_of_the_chip


class QuantLayer(nn.Module):
    """Weight and bias of a conv or linear, batch norm folded in.

    Args:
        weight: ``(C_out, C_in / groups, K_h, K_w)`` or ``(C_out, C_in)``.
        bias: ``(C_out,)``, or ``None`` for zeros: on the chip a bias costs nothing, so every layer has one.
        bits: width of each output channel's weights. With 0 bits a channel is exactly 0, bias included.
        learned: whether the steps of the weights are trained.
        narrow: widths whose least code is left out.
        shared: whether weights of one width have one step, instead of one per channel.
    """

    alive: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        bits: Sequence[int],
        *,
        learned: bool,
        narrow: Collection[int] = (),
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(weight.shape[0]) if bias is None else bias.detach().clone())
        self.weight_quantizer = WeightQuantizer(bits, weight, learned=learned, narrow=narrow, shared=shared)
        self._pruned = 0 in bits
        self.register_buffer("alive", torch.tensor([float(width > 0) for width in bits]), persistent=False)

    def quantized_weight(self) -> Tensor:
        """The weight on its grid, differentiable."""
        result: Tensor = self.weight_quantizer(self.real_weight())
        return result

    def real_weight(self) -> Tensor:
        """The weight before it is quantized, differentiable; 0 in channels of 0 bits."""
        return self.weight * self.alive.view(-1, *(1,) * (self.weight.dim() - 1)) if self._pruned else self.weight

    def free_weight(self) -> Tensor:
        """The quantized weight that a norm follows; what it makes of channels of 0 bits does not matter."""
        return self.quantized_weight()

    def mask(self) -> Tensor | None:
        """``(C_out,)``, 0 in channels of 0 bits and 1 in others; ``None`` if there are none."""
        return self.alive if self._pruned else None

    def steps(self, factor: Tensor | None = None) -> Tensor:
        """Step of each channel's weights; one of 0 bits takes the least of the others, so that it decides nothing.

        Args:
            factor: of a norm behind the layer, ``(C_out,)``; steps are those that folding it would leave.
        """
        scale = self.weight_quantizer.scale if factor is None else self.weight_quantizer.scale * factor
        if not self._pruned:
            return scale
        least = torch.where(self.alive > 0, scale, torch.inf).min()
        return torch.where(self.alive > 0, scale, least)

    def real_bias(self) -> Tensor:
        """The bias, likewise."""
        return self.bias * self.alive if self._pruned else self.bias


def apply_layer(operator: Conv | Linear, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution or matrix product of a batch."""
    if isinstance(operator, Linear):
        return functional.linear(x, weight, bias)
    wide = x.unsqueeze(2) if operator.spatial == 1 else x
    padded, inside = _split_padding(wide, operator.padding)
    result = functional.conv2d(padded, weight, bias, operator.stride, inside, operator.dilation, operator.groups)
    return result.squeeze(2) if operator.spatial == 1 else result


def exact_layer(operator: Conv | Linear, x: Tensor, weight: Tensor, bias: Tensor, steps: Sequence[Tensor]) -> Tensor:
    """What a layer computes before it rounds, such that it rounds to the codes of the chip; without gradients.

    Products of codes are summed in ``x``'s type: exact in float32 for sums below 2^24.

    Args:
        operator: of the layer.
        x: on its grid, ``(N, ...)``.
        weight: on its grid.
        bias: real, ``(C_out,)``.
        steps: of ``x``, of the weights (``(C_out,)``) and of the output.
    """
    source, own, target = (step.double() for step in steps)
    codes = torch.round(weight / own.view(-1, *(1,) * (weight.dim() - 1))).to(x)
    sums = apply_layer(operator, torch.round(x / source.to(x)), codes, None)
    channel = -1 if isinstance(operator, Linear) else 1
    return sums_of_the_chip(sums.movedim(channel, -1), bias, source * own, target).movedim(-1, channel)


def window_sum(operator: AvgPool, x: Tensor) -> Tensor:
    """Sum over each window divided by the divisor; padding counts as zeros."""
    wide = x.unsqueeze(2) if operator.spatial == 1 else x
    padded, inside = _split_padding(wide, operator.padding)
    if inside != (0, 0):
        padded = pad(padded, (inside[0], inside[0], inside[1], inside[1]))
    result = functional.avg_pool2d(padded, operator.kernel, operator.stride, divisor_override=operator.divisor)
    return result.squeeze(2) if operator.spatial == 1 else result


def window_max(operator: MaxPool, x: Tensor) -> Tensor:
    """Maximum over each window; padding never wins."""
    wide = x.unsqueeze(2) if operator.spatial == 1 else x
    top, bottom, left, right = operator.padding
    if any(operator.padding):
        wide = functional.pad(wide, (left, right, top, bottom), value=-torch.inf)
    result = functional.max_pool2d(wide, operator.kernel, operator.stride, 0, operator.dilation)
    return result.squeeze(2) if operator.spatial == 1 else result


def pad(x: Tensor, padding: Padding) -> Tensor:
    """Zeros around the last two dimensions."""
    top, bottom, left, right = padding
    return functional.pad(x, (left, right, top, bottom))


def _split_padding(x: Tensor, padding: Padding) -> tuple[Tensor, tuple[int, int]]:
    """Symmetric padding is left to the operator, any other is done first."""
    top, bottom, left, right = padding
    if top == bottom and left == right:
        return x, (top, left)
    return pad(x, padding), (0, 0)
