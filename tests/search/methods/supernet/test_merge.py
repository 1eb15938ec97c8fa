# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from plinio_deploy.search.methods.supernet import merge

CONV: tuple[Any, ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORM: tuple[Any, ...] = (None, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def geometries(branches: list[nn.Module]) -> tuple[merge.Geometry | None, ...]:
    found = [merge.describe(branch) for branch in branches]
    return tuple(None if branch is None else branch.geometry for branch in found)


def merged(branches: list[nn.Module], theta: Tensor, x: Tensor) -> Tensor:
    found = [branch for each in branches if (branch := merge.describe(each)) is not None]
    assert len(found) == len(branches)
    return merge.convolve(x, theta, found)


def frozen_norm(axes: int, channels: int) -> nn.Module:
    norm = NORM[axes](channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm.eval()  # type: ignore[no-any-return]


@st.composite
def families(draw: st.DrawFn) -> tuple[int, list[nn.Module], Tensor]:
    """Branches of one family: every kernel size, dilation, grouping and chain that may share a centre."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    axes = draw(st.integers(1, 3))
    stride = draw(st.integers(1, 2))
    inputs, outputs = draw(st.sampled_from([(4, 4), (4, 8), (6, 3), (1, 2)]))
    valid = draw(st.booleans())
    branches: list[nn.Module] = []
    for _ in range(draw(st.integers(2, 4))):
        taps, dilation = draw(st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 1)]))
        extent = dilation * (taps - 1) + 1
        padding = (extent - 1) // 2 + (0 if not valid else 1)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "bias": draw(st.booleans())}
        groups = draw(st.sampled_from([g for g in (1, 2, 3, 4, 6) if inputs % g == 0 and outputs % g == 0]))
        kind = draw(st.sampled_from(["conv", "separable", "normed", "expanded"]))
        conv = CONV[axes]
        if kind == "separable":
            branch: nn.Module = nn.Sequential(
                conv(inputs, inputs, taps, groups=inputs, **options), conv(inputs, outputs, 1, bias=draw(st.booleans()))
            )
        elif kind == "normed":
            branch = nn.Sequential(conv(inputs, outputs, taps, groups=groups, **options), frozen_norm(axes, outputs))
        elif kind == "expanded":
            branch = nn.Sequential(conv(inputs, 5, 1, bias=False), conv(5, outputs, taps, **options), nn.Identity())
        else:
            branch = conv(inputs, outputs, taps, groups=groups, **options)
        branches.append(branch)
    if inputs == outputs and stride == 1 and not valid:
        branches.append(nn.Identity())
    x = torch.randn(2, inputs, *(draw(st.integers(7, 9)) for _ in range(axes)), dtype=torch.float64)
    return axes, [branch.double() for branch in branches], x


@settings(max_examples=60, deadline=None, derandomize=True)
@given(families())
def test_one_convolution_is_the_mixture_of_all_branches(family: tuple[int, list[nn.Module], Tensor]) -> None:
    _, branches, x = family
    parameters = [p for branch in branches for p in branch.parameters()]
    theta = torch.softmax(torch.randn(len(branches), dtype=torch.float64), 0).requires_grad_()
    x.requires_grad_()
    expected = torch.stack([t * branch(x) for t, branch in zip(theta, branches, strict=True)]).sum(0)
    got = merged(branches, theta, x)
    torch.testing.assert_close(got, expected)
    probe = torch.randn_like(got)
    mine = torch.autograd.grad((got * probe).sum(), [theta, x, *parameters], allow_unused=True)
    theirs = torch.autograd.grad((expected * probe).sum(), [theta, x, *parameters], allow_unused=True)
    for a, b in zip(mine, theirs, strict=True):
        assert a is not None
        torch.testing.assert_close(a, b)


def test_linear_layers_and_an_identity_merge() -> None:
    branches: list[nn.Module] = [nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 6)), nn.Identity()]
    theta, x = torch.tensor([0.5, 0.2, 0.3]), torch.randn(3, 7, 6)
    expected = sum((t * branch(x) for t, branch in zip(theta, branches, strict=True)), torch.zeros(()))
    torch.testing.assert_close(merged(branches, theta, x), expected)


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
    assert merge.describe(NOT_LINEAR[reason]) is None


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
    assert merge.chain(skip) == []
    theta, x = torch.tensor([0.25, 0.75]), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(merged([skip, separable], theta, x), 0.25 * x + 0.75 * separable(x))


def test_a_traced_branch_that_uses_a_tensor_twice_is_left_alone() -> None:
    class Residual(Pre):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + x

    assert merge.chain(fx.symbolic_trace(Residual())) is None


def test_plan_merges_what_saves_work() -> None:
    three, five, skip = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 5, padding=2), nn.Identity()
    assert merge.plan(geometries([three, five, skip])) == ((0, 1, 2),)


def test_plan_does_not_blow_a_separable_branch_up() -> None:
    """A depthwise 9x9 and a pointwise layer as one dense 9x9 would cost dozens of times more."""
    wide = nn.Sequential(nn.Conv2d(64, 64, 9, padding=4, groups=64), nn.Conv2d(64, 64, 1))
    three, skip = nn.Conv2d(64, 64, 3, padding=1), nn.Identity()
    assert merge.plan(geometries([wide, three, skip])) == ((1, 2),)


def test_plan_keeps_depthwise_layers_grouped() -> None:
    one, two = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 5, padding=2, groups=16)
    assert merge.plan(geometries([one, two, nn.Identity()])) == ((0, 1, 2),)
    found = [branch for each in (one, two) if (branch := merge.describe(each)) is not None]
    assert merge.convolve(torch.randn(1, 16, 4, 4), torch.tensor([0.5, 0.5]), found).shape == (1, 16, 4, 4)


def test_plan_separates_strides_centres_and_channels() -> None:
    branches: list[nn.Module] = [
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=0),
        nn.Conv2d(8, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.Conv2d(8, 8, 2, padding=1),
    ]
    assert merge.plan(geometries(branches)) == ()
    assert merge.plan(geometries([*branches, nn.Conv2d(8, 8, 5, padding=1)])) == ((1, 5),)


def test_plan_of_identities_alone_is_nothing() -> None:
    assert merge.plan(geometries([nn.Identity(), nn.Identity()])) == ()
