# SPDX-License-Identifier: Apache-2.0
"""What single operations do to identifiers; each is checked against where the numbers really go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.search.graph.channels import Channels, Rules
from plinio_deploy.search.graph.ids import Features
from plinio_deploy.search.graph.shapes import shapes
from plinio_deploy.search.graph.trace import trace


class One(nn.Module):
    """A convolution of 6 channels, the operation, and something that reads the result along its last axis."""

    def __init__(self, op: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.op = op
        self.conv = nn.Conv2d(2, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(self.conv(x)).relu()


def features(op: Callable[[Tensor], Tensor]) -> tuple[int, list[int]] | None:
    """Axis and identifiers of the operation's result, as they are before the output freezes them."""
    x = torch.rand(1, 2, 4, 3)
    traced = trace(One(op), [x])
    nodes = list(traced.graph.nodes)
    nodes[-1].args = (nodes[0],)  # the output is now the input: nothing is frozen on its account
    found = Channels(traced, shapes(traced, [x]), Rules()).features[nodes[-2]]
    return (found.axis, found.ids.tolist()) if isinstance(found, Features) else None


@pytest.mark.parametrize(
    ("op", "want"),
    [
        (lambda y: y * 2 + 1, (1, [1, 2, 3, 4, 5, 6])),
        (lambda y: y[:, 1::2], (1, [2, 4, 6])),
        (lambda y: y.flip(1), (1, [6, 5, 4, 3, 2, 1])),
        (lambda y: y.roll(2, 1), (1, [5, 6, 1, 2, 3, 4])),
        (lambda y: torch.cat([y[:, :2], y[:, :2]], 1), (1, [1, 2, 1, 2])),
        (lambda y: y.permute(0, 2, 3, 1), (3, [1, 2, 3, 4, 5, 6])),
        (lambda y: y.mean((2, 3)), (1, [1, 2, 3, 4, 5, 6])),
        (lambda y: y.transpose(0, 2).mean(0), (0, [1, 2, 3, 4, 5, 6])),
        (lambda y: F.max_pool2d(y, 2), (1, [1, 2, 3, 4, 5, 6])),
        (lambda y: F.pad(y, (0, 0, 0, 0, 1, 2)), (1, [0, 1, 2, 3, 4, 5, 6, 0, 0])),
        (lambda y: y.flatten(1)[:, ::12], (1, [1, 2, 3, 4, 5, 6])),
        (lambda y: F.channel_shuffle(y, 2), (1, [1, 4, 2, 5, 3, 6])),
        (lambda y: y.repeat_interleave(2, 1), (1, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])),
        (lambda y: y.softmax(1), None),
        (lambda y: y + torch.rand(6, 1, 1), (1, [1, 2, 3, 4, 5, 6])),
    ],
)
def test_identifiers_follow_the_elements(op: Callable[[Tensor], Tensor], want: tuple[int, list[int]] | None) -> None:
    got = features(op)
    assert got == want
