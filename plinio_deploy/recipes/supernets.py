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


def alternatives(own: nn.Conv2d) -> list[nn.Module]:
    """What may stand for a 3x3 convolution: itself, or a depthwise-separable one.

    Neither a 1x1 nor nothing at all: both are learned first, and win a short search by that.
    """
    cin, cout, stride = own.in_channels, own.out_channels, own.stride[0]
    separable = nn.Sequential(
        nn.Conv2d(cin, cin, 3, stride, padding=1, groups=cin, bias=False),
        nn.BatchNorm2d(cin),
        nn.ReLU(),
        nn.Conv2d(cin, cout, 1),
    )
    return [own, separable]


def narrow_middle(own: nn.Conv2d) -> list[nn.Module]:
    """What may stand for a 1x1 convolution: itself, or two of them with a quarter of its channels between them."""
    inner = max(4, min(own.in_channels, own.out_channels) // 4)
    first = nn.Conv2d(own.in_channels, inner, 1, bias=False)
    return [own, nn.Sequential(first, nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, own.out_channels, 1))]


def fewer_taps(own: nn.Conv1d) -> list[nn.Module]:
    """What may stand for a causal 1-D convolution, padded on its left by its caller: itself, or every second tap."""
    taps = (own.kernel_size[0] + 1) // 2
    sparse = nn.Conv1d(own.in_channels, own.out_channels, taps, dilation=2)
    return [own, sparse] if own.kernel_size[0] % 2 else [own]


def bottleneck(own: nn.Linear) -> list[nn.Module]:
    """What may stand for a linear layer: itself, or two of a quarter of its width with a ReLU between them."""
    inner = max(4, min(own.in_features, own.out_features) // 4)
    return [own, nn.Sequential(nn.Linear(own.in_features, inner), nn.ReLU(), nn.Linear(inner, own.out_features))]


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
