# SPDX-License-Identifier: Apache-2.0
"""Alternatives for the layers of the reference networks; what stands in a place comes first, with its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn

from plinio_deploy.search.methods.supernet import SuperNetModule

M = TypeVar("M", bound=nn.Module)

LEAD = 0.5
"""What the logit of the layer that stands in a place has more than the others' when a search starts.

A short search sees its alternatives half trained: without a lead, what is learned fastest wins, not what is best.
"""


MARGIN = 2.0
"""Standard deviations by which a `Factored` starts above its ReLU's corner: there a ReLU is nearly linear."""


class Factored(nn.Sequential):
    """A convolution in two, with a norm and a ReLU between them.

    Args:
        first: without bias.
        second: pointwise, with bias.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__(first, nn.BatchNorm2d(first.out_channels), nn.ReLU(), second)

    @torch.no_grad()
    def start_from(self, own: nn.Conv2d) -> None:
        """Take weights with which this is close to a trained convolution, up to the scale of its outputs.

        They are the leading singular vectors: of each input channel's (outputs, taps) matrix for a depthwise first
        layer, of the (outputs, inputs) matrix of a pointwise one. Inputs of equal power are assumed; a norm that
        follows takes care of the scale. On ResNet8 the two last 3x3 convolutions in this form have 64 % on CIFAR-10
        before any training, where the trained network has 84 %.

        Args:
            own: as many inputs and outputs; 3x3 for a depthwise first layer, else 1x1. With groups: nothing changes.
        """
        first, norm, _, second = self
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        assert second.bias is not None
        if own.groups > 1:
            return
        if first.groups == 1:
            left, scale, right = torch.linalg.svd(own.weight.flatten(1), full_matrices=False)
            rank = min(first.out_channels, len(scale))
            taps, mix = first.weight.new_zeros(first.weight.shape), second.weight.new_zeros(second.weight.shape)
            taps[:rank] = right[:rank].view_as(taps[:rank])
            mix[:, :rank] = (left[:, :rank] * scale[:rank]).view_as(mix[:, :rank])
        else:
            left, scale, right = torch.linalg.svd(own.weight.transpose(0, 1).flatten(2), full_matrices=False)
            taps, mix = right[:, 0], (left[:, :, 0] * scale[:, :1]).t()
        first.weight.copy_(taps.reshape(first.weight.shape))
        nn.init.ones_(norm.get_parameter("weight"))
        nn.init.constant_(norm.get_parameter("bias"), MARGIN)
        second.weight.copy_(mix.reshape(second.weight.shape))
        second.bias.copy_(-MARGIN * second.weight.flatten(1).sum(1))
        if own.bias is not None:
            second.bias.add_(own.bias)


def alternatives(own: nn.Conv2d) -> list[nn.Module]:
    """What may stand for a 3x3 convolution: itself, or a depthwise-separable one.

    Neither a 1x1 nor nothing at all: both are learned first, and win a short search by that.
    """
    cin, cout, stride = own.in_channels, own.out_channels, own.stride[0]
    depthwise = nn.Conv2d(cin, cin, 3, stride, padding=1, groups=cin, bias=False)
    return [own, Factored(depthwise, nn.Conv2d(cin, cout, 1))]


def narrow_middle(own: nn.Conv2d) -> list[nn.Module]:
    """What may stand for a 1x1 convolution: itself, or two of them with a quarter of its channels between them."""
    inner = max(4, min(own.in_channels, own.out_channels) // 4)
    first = nn.Conv2d(own.in_channels, inner, 1, bias=False)
    return [own, Factored(first, nn.Conv2d(inner, own.out_channels, 1))]


def fewer_taps(own: nn.Conv1d) -> list[nn.Module]:
    """What may stand for a causal 1-D convolution, padded on its left by its caller: itself, or every second tap."""
    taps = (own.kernel_size[0] + 1) // 2
    sparse = nn.Conv1d(own.in_channels, own.out_channels, taps, dilation=2)
    return [own, sparse] if own.kernel_size[0] % 2 else [own]


def bottleneck(own: nn.Linear) -> list[nn.Module]:
    """What may stand for a linear layer: itself, or two of a quarter of its width with a ReLU between them."""
    inner = max(4, min(own.in_features, own.out_features) // 4)
    return [own, nn.Sequential(nn.Linear(own.in_features, inner), nn.ReLU(), nn.Linear(inner, own.out_features))]


def start_alternatives(model: nn.Module) -> None:
    """Let every alternative that can (a module with ``start_from``) start from what comes first in its place."""
    for choice in model.modules():
        if isinstance(choice, SuperNetModule):
            own, *others = choice.branches
            for other in others:
                if callable(start := getattr(other, "start_from", None)):
                    start(own)


def in_place_of(model: M, paths: Iterable[str]) -> M:
    """Put a `SuperNetModule` in the place of each layer; only one alternative runs per step (``single_path``).

    Args:
        model: changed and returned.
        paths: of convolutions and linear layers.
    """
    for path in paths:
        parent, _, name = path.rpartition(".")
        own = model.get_submodule(path)
        if isinstance(own, nn.Conv2d):
            found = narrow_middle(own) if own.kernel_size == (1, 1) else alternatives(own)
        elif isinstance(own, nn.Conv1d):
            found = fewer_taps(own)
        else:
            assert isinstance(own, nn.Linear)
            found = bottleneck(own)
        choice = SuperNetModule(found, single_path=True)
        with torch.no_grad():
            choice.alpha[0] += LEAD
        setattr(model.get_submodule(parent), name, choice)
    return model
