# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, fx, nn

from plinio_deploy.search.methods.supernet import linear
from plinio_deploy.search.methods.supernet.kernels import kernel
from tests.search.methods.supernet.norms import frozen_norm


class Square(nn.Conv2d):
    """A layer that only looks like a convolution."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        return super().forward(input).square()


def hooked() -> nn.Module:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    conv.register_forward_hook(lambda *seen: -seen[2])
    return conv


NOT_LINEAR = {
    "activation": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
    "two windows: the border of the first is cut off": nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    ),
    "norm that still learns": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)),
    "reflected border": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "bias before a padded window": nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)),
    "norm before a padded window": nn.Sequential(frozen_norm(2, 4), nn.Conv2d(4, 4, 3, padding=1)),
    "a class of its own": Square(4, 4, 3, padding=1),
    "hook": hooked(),
    "even window, padded unevenly": nn.Conv2d(4, 4, 2, padding="same"),
    "strided before a window": nn.Sequential(nn.Conv2d(4, 4, 1, stride=2, bias=False), nn.Conv2d(4, 4, 3, padding=1)),
    "norm on a Linear": nn.Sequential(nn.Linear(4, 4), frozen_norm(1, 4)),
    "pooling": nn.AvgPool2d(3, 1, 1),
}


@pytest.mark.parametrize("reason", NOT_LINEAR)
def test_what_is_not_exactly_one_convolution_is_left_alone(reason: str) -> None:
    assert linear.describe(NOT_LINEAR[reason]) is None


class Skip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Pre(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False), nn.Identity())
        self.wide = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(self.deep(x))  # type: ignore[no-any-return]


def test_traced_branches_are_read_from_their_graph() -> None:
    skip, separable = fx.symbolic_trace(Skip()), fx.symbolic_trace(Pre())
    assert linear.chain(skip) == []
    found = linear.describe(separable)
    assert found is not None
    assert found.geometry.extent == (3, 3)
    assert found.geometry.links == 2
    whole, x = kernel(found, 4, 2, torch.zeros(())), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(F.conv2d(x, whole.weight, whole.bias, padding=1), separable(x))


def test_a_traced_branch_that_uses_a_tensor_twice_is_left_alone() -> None:
    class Residual(Pre):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + x

    assert linear.chain(fx.symbolic_trace(Residual())) is None
