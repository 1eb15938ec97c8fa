# SPDX-License-Identifier: Apache-2.0
"""Alternatives for the layers of the reference networks; what stands in a place comes first, with its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from plinio_deploy.search.methods.supernet import SuperNetModule

M = TypeVar("M", bound=nn.Module)

LEAD = 0.5
"""What the logit of the layer that stands in a place has more than the others' when a search starts.

A short search sees its alternatives half trained: without a lead, what is learned fastest wins, not what is best.
"""


MARGIN = 2.0
"""Standard deviations by which a `Factored` starts above its ReLU's corner: there a ReLU is nearly linear."""


WIDE = 32
"""Input channels from which a 3x3 convolution may also be two depthwise ones and a pointwise one.

With fewer, the weights that this saves are few beside the activations that it adds.
"""


class Factored(nn.Module):
    """A convolution in two, with a norm and a ReLU between them.

    The first may be several side by side. Depthwise ones are as one that has several outputs per input channel, in the
    form that runs fast when it is deployed.

    Args:
        first: without bias, all of the same input and output shapes.
        second: pointwise, with bias; takes what all first ones give.
    """

    def __init__(self, first: Sequence[nn.Conv2d], second: nn.Conv2d) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Sequential(each, nn.BatchNorm2d(each.out_channels), nn.ReLU()) for each in first)
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution: ``(N, C, H, W)`` to ``(N, C', H', W')``."""
        hidden = [each(x) for each in self.first]
        result: Tensor = self.second(hidden[0] if len(hidden) == 1 else torch.cat(hidden, 1))
        return result

    @torch.no_grad()
    def start_from(self, own: nn.Conv2d) -> None:
        """Take weights with which this is close to a trained convolution, up to the scale of its outputs.

        They are the leading singular vectors: of each input channel's (outputs, taps) matrix for depthwise first
        layers, one vector per layer; of the (outputs, inputs) matrix of a pointwise one. Inputs of equal power are
        assumed; a norm that follows takes care of the scale.

        Args:
            own: as many inputs and outputs; 3x3 for depthwise first layers, else 1x1. With groups: nothing changes.
        """
        if own.groups > 1:
            return
        convs = [self._parts(index)[0] for index in range(len(self.first))]
        mix = torch.zeros_like(self.second.weight)
        if convs[0].groups > 1:
            left, scale, right = torch.linalg.svd(own.weight.transpose(0, 1).flatten(2), full_matrices=False)
            for index, conv in enumerate(convs[: scale.shape[1]]):
                columns = slice(index * own.in_channels, (index + 1) * own.in_channels)
                conv.weight.copy_(right[:, index].reshape(conv.weight.shape))
                mix[:, columns, 0, 0] = (left[:, :, index] * scale[:, index, None]).t()
        else:
            (conv,) = convs
            left, scale, right = torch.linalg.svd(own.weight.flatten(1), full_matrices=False)
            rank = min(conv.out_channels, len(scale))
            nn.init.zeros_(conv.weight)
            conv.weight[:rank] = right[:rank, :, None, None]
            mix[:, :rank] = (left[:, :rank] * scale[:rank])[:, :, None, None]
        for index in range(len(convs)):
            norm = self._parts(index)[1]
            nn.init.ones_(norm.weight)
            nn.init.constant_(norm.bias, MARGIN)
        self.second.weight.copy_(mix)
        assert self.second.bias is not None
        self.second.bias.copy_(-MARGIN * mix.flatten(1).sum(1))
        if own.bias is not None:
            self.second.bias.add_(own.bias)

    def _parts(self, index: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        part = self.first[index]
        assert isinstance(part, nn.Sequential)
        conv, norm = part[0], part[1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        return conv, norm


def alternatives(own: nn.Conv2d) -> list[nn.Module]:
    """What may stand for a 3x3 convolution: itself, or depthwise-separable ones: of one filter per input, or of two.

    Neither a 1x1 nor nothing at all: both are learned first, and win a short search by that.
    """
    cin, cout, stride = own.in_channels, own.out_channels, own.stride[0]
    found: list[nn.Module] = [own]
    for count in (1, 2) if cin >= WIDE else (1,):
        filters = [nn.Conv2d(cin, cin, 3, stride, padding=1, groups=cin, bias=False) for _ in range(count)]
        found.append(Factored(filters, nn.Conv2d(count * cin, cout, 1)))
    return found


def narrow_middle(own: nn.Conv2d) -> list[nn.Module]:
    """What may stand for a 1x1 convolution: itself, or two of them with a quarter of its channels between them."""
    inner = max(4, min(own.in_channels, own.out_channels) // 4)
    first = nn.Conv2d(own.in_channels, inner, 1, bias=False)
    return [own, Factored([first], nn.Conv2d(inner, own.out_channels, 1))]


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
