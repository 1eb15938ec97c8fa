# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plinio_deploy import PIT, cost
from plinio_deploy.errors import UsageError
from plinio_deploy.search.methods.pit.masks import FeatureMask
from plinio_deploy.search.methods.pit.settle import _edges, settle


def searched(seed: int = 0) -> PIT:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.Flatten(), nn.Linear(24 * 16, 5)
    )
    nas = PIT(model, cost={"size": cost.params_bit, "macs": cost.ops}, input_shape=(3, 4, 4), full_cost=True)
    with torch.no_grad():
        for module in nas.modules():
            if isinstance(module, FeatureMask):
                module.alpha.copy_(torch.rand_like(module.alpha) * 1.2)
    return nas


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_exported_network_fills_the_limit_and_stays_below_it(share: float) -> None:
    nas = searched()
    nas_least = searched()
    nas_least.settle(1e9, "size")  # everything lives
    limit = share * nas_least.get_cost("size").item()
    reached = nas.settle(limit, "size")
    dearest = 8 * (16 * 9 + 16 * 5)  # a channel of the second convolution
    assert limit - dearest < reached <= limit
    nas.discrete_cost = True
    assert nas.get_cost("size").item() == pytest.approx(reached)
    assert not nas_least.discrete_cost  # as it was before


def test_the_highest_ranked_channels_stay() -> None:
    nas = searched()
    first = next(m for m in nas.modules() if isinstance(m, FeatureMask) and m.alpha.requires_grad)
    before = first.theta().detach().clone()
    nas.settle("60 %", "size")
    alive = first.binary().detach().bool() & ~first.kept.bool()
    dead = ~first.binary().detach().bool()
    assert dead.any()
    # Only channels that fill the room at the end may be ranked below one that went.
    assert before[alive].median() > before[dead].median()


def test_a_limit_below_the_least_is_refused_and_changes_nothing() -> None:
    nas = searched()
    before = [p.detach().clone() for p in nas.nas_parameters()]
    with pytest.raises(UsageError, match="no choice of channels"):
        nas.settle(10.0, "size")
    assert all(torch.equal(a, b) for a, b in zip(before, nas.nas_parameters(), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=2, max_size=12), st.integers(1, 12))
def test_any_count_is_met_exactly(alphas: list[float], most: int) -> None:
    mask = FeatureMask([False] * (len(alphas) - 1) + [True])
    with torch.no_grad():
        mask.alpha.copy_(torch.tensor(alphas))
    reached = settle([mask], lambda: float(mask.binary().detach().sum()), float(most))
    assert reached == min(most, len(alphas))
    assert float(mask.binary().detach().sum()) == reached


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.1, 1), min_size=8, max_size=24),
    st.lists(st.floats(0.1, 1), min_size=8, max_size=24),
    st.floats(0, 1),
)
def test_channels_that_cost_nothing_more_live(first: list[float], second: list[float], share: float) -> None:
    masks = [FeatureMask([False] * len(alphas)) for alphas in (first, second)]
    with torch.no_grad():
        for mask, alphas in zip(masks, (first, second), strict=True):
            mask.alpha.copy_(torch.tensor(alphas))
    alive = [0, 0]

    def cost() -> float:  # fours, as kernels have them, and a little for each channel
        alive[:] = [int(mask.binary().detach().sum()) for mask in masks]
        return sum(-(-count // 4) * weight + 1e-3 * count for count, weight in zip(alive, (3.0, 2.0), strict=True))

    most = sum(-(-len(alphas) // 4) * weight + 0.1 for alphas, weight in ((first, 3.0), (second, 2.0)))
    settle(masks, cost, share * most)
    cost()
    assert all(n % 4 == 0 or n == len(alphas) for n, alphas in zip(alive, (first, second), strict=True))


def test_steps_of_the_cost_are_found() -> None:
    assert _edges([(count, float(count)) for count in range(7)]) == list(range(7))
    assert _edges([(count, float(-(-count // 4))) for count in range(11)]) == [0, 4, 8, 10]
    assert _edges([(0, 5.0), (1, 9.0), (2, 6.0), (3, 5.5)]) == [0, 3]
    assert _edges([(0, 1.0)]) == [0]
