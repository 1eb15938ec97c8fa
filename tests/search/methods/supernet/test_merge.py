# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from plinio_deploy.search.methods.pit import PIT
from plinio_deploy.search.methods.supernet import SuperNetModule, linear, merge
from tests.search.methods.supernet.norms import frozen_norm

CONV: tuple[Any, ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def geometries(branches: list[nn.Module]) -> tuple[linear.Geometry | None, ...]:
    found = [linear.describe(branch) for branch in branches]
    return tuple(None if branch is None else branch.geometry for branch in found)


def merged(branches: list[nn.Module], theta: Tensor, x: Tensor) -> Tensor:
    found = [branch for each in branches if (branch := linear.describe(each)) is not None]
    assert len(found) == len(branches)
    return merge.convolve(x, theta, found)


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
    found = [branch for each in (one, two) if (branch := linear.describe(each)) is not None]
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


def test_layers_under_pit_merge_with_their_masked_weights() -> None:
    torch.manual_seed(0)
    choice = SuperNetModule([nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 5, padding=2), nn.Conv2d(4, 6, 1)])
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), choice, nn.ReLU(), nn.Conv2d(6, 2, 1))
    nas = PIT(model, input_shape=(3, 8, 8))
    with torch.no_grad():
        for parameter in nas.nas_parameters():
            if parameter.numel() > 3:
                parameter[0] = 0
    (inside,) = (module for module in nas.modules() if isinstance(module, SuperNetModule))
    found = [linear.describe(branch) for branch in inside.branches]
    assert merge.plan(tuple(None if branch is None else branch.geometry for branch in found)) == ((0, 1, 2),)
    x = torch.randn(2, 3, 8, 8)
    together = nas(x)
    inside.merge_linear = False
    torch.testing.assert_close(together, nas(x))
