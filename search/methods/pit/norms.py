# SPDX-License-Identifier: Apache-2.0
"""Norms over channels whose statistics are those of the living channels, so that export changes nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plinio_deploy.search.methods.pit.masks import ChannelView


def masked_moments(x: Tensor, mask: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of ``x`` over ``dims``, of the elements whose mask is 1; the mask broadcasts."""
    mask = mask.to(x.dtype)
    count = mask.expand_as(x[:1]).sum(dims, keepdim=True)
    mean = (x * mask).sum(dims, keepdim=True) / count
    variance = ((x - mean).square() * mask).sum(dims, keepdim=True) / count
    return mean, variance


class PITLayerNorm(nn.LayerNorm):
    """LayerNorm over living channels.

    Attributes:
        channels: the channels; they lie along ``axis`` of ``normalized_shape``.
    """

    stands_for_base: ClassVar[bool] = True
    channels: ChannelView
    axis: int

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As LayerNorm without the masked channels."""
        count = len(self.normalized_shape)
        shape = [1] * count
        shape[self.axis] = -1
        mask = self.channels.mask().view([1] * (input.dim() - count) + shape)
        mean, variance = masked_moments(input, mask, list(range(-count, 0)))
        result = (input - mean) * torch.rsqrt(variance + self.eps)
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        result = result if weight is None else result * weight
        return result if bias is None else result + bias


class PITGroupNorm(nn.GroupNorm):
    """GroupNorm over living channels; every group has equally many."""

    stands_for_base: ClassVar[bool] = True
    channels: ChannelView

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As GroupNorm without the masked channels."""
        grouped = input.reshape(input.shape[0], self.num_groups, self.num_channels // self.num_groups, -1)
        mask = self.channels.mask().view(1, self.num_groups, -1, 1)
        mean, variance = masked_moments(grouped, mask, [2, 3])
        result = ((grouped - mean) * torch.rsqrt(variance + self.eps)).reshape(input.shape)
        if not self.affine:
            return result
        ones = [1] * (input.dim() - 2)
        return result * self.weight.view(1, -1, *ones) + self.bias.view(1, -1, *ones)


def convert_norm(module: nn.Module, channels: ChannelView, axis: int) -> None:
    """Turn a norm over channels into one over living channels, in place; other modules stay as they are."""
    if isinstance(module, nn.LayerNorm):
        module.__class__ = PITLayerNorm
        assert isinstance(module, PITLayerNorm)
        module.channels, module.axis = channels, axis
    elif isinstance(module, nn.GroupNorm) and module.num_groups < module.num_channels:
        module.__class__ = PITGroupNorm
        assert isinstance(module, PITGroupNorm)
        module.channels = channels


def plain_norm(module: nn.Module) -> nn.Module:
    """Undo `convert_norm` on a copy of a module, in place."""
    if isinstance(module, PITLayerNorm | PITGroupNorm):
        del module.channels
        module.__dict__.pop("axis", None)
        bare: Any = module
        bare.__class__ = nn.LayerNorm if isinstance(module, nn.LayerNorm) else nn.GroupNorm
    return module
