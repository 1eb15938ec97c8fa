# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from torch import nn

from plinio_deploy import PIT
from plinio_deploy.recipes.goals import MARGIN, ROOM, Goal, measure, measure_plain
from plinio_deploy.search.feasibility import least_cost
from plinio_deploy.search.regularizers import DUCCIO, BaseRegularizer

SHAPE = (1, 4, 4)


def model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )


def searched(goal: Goal) -> PIT:
    return PIT(model(), cost=goal.costs(), input_shape=SHAPE, full_cost=True)


def test_a_strength_prices_the_cost_that_was_named() -> None:
    goal = Goal("macs", strength=0.5)
    price = goal.regularizer(searched(goal), {}, 1.0)
    assert isinstance(price, BaseRegularizer)
    assert price(searched(goal)).item() == pytest.approx(0.5)


def test_limits_are_approached_in_equal_factors() -> None:
    goal = Goal(limits={"flash": 400.0 / MARGIN})
    nas = searched(goal)
    first, last = (goal.regularizer(nas, {"flash": 1600.0}, share) for share in (0.5, 1.0))
    assert isinstance(first, DUCCIO)
    assert isinstance(last, DUCCIO)
    assert first.targets["flash"] == pytest.approx(800)
    assert last.targets["flash"] == pytest.approx(400)


def test_a_method_that_others_follow_is_not_asked_for_more_than_it_can_give() -> None:
    goal = Goal(limits={"flash": 2.0})
    nas = searched(goal)
    price = goal.regularizer(nas, {"flash": 1600.0}, 0.5)
    assert isinstance(price, DUCCIO)
    assert price.targets["flash"] == pytest.approx(ROOM * least_cost(nas, "flash"))


def test_what_is_missed_is_told_with_its_amount() -> None:
    goal = Goal(limits={"flash": 100.0, "ram": 50.0})
    assert goal.missed({"flash": 130.0, "ram": 50.0, "macs": 1e9}) == {"flash": 30.0}


def test_measuring_counts_living_channels_and_leaves_the_search_as_it_was() -> None:
    goal = Goal()
    nas = searched(goal).train()
    whole = measure(nas, goal.costs())
    assert whole == measure_plain(model(), goal.costs(), SHAPE)
    masks = [p for p in nas.nas_parameters() if p.numel() == 16]
    masks[0].data[:8] = 0.0
    half = measure(nas, ["macs"])["macs"]
    exported = measure_plain(nas.eval().export(), goal.costs(), SHAPE)
    assert half == exported["macs"] < whole["macs"]
    assert nas.train().training
    assert not nas.discrete_cost
