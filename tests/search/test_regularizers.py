# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from plinio_deploy.errors import UsageError
from plinio_deploy.search.regularizers import DUCCIO, BaseRegularizer, DummyRegularizer
from plinio_deploy.search.schedules import linear
from tests.search.toy import Toy

START = float(Toy().get_cost("size").detach())


def value(regularizer: Any, model: Toy, *at: int) -> float:
    return float(regularizer(model, *at).detach())


def test_the_toy_costs_what_the_tests_below_think() -> None:
    assert pytest.approx(40 + 200 / 3 + 85 / 2) == START


def test_base_is_strength_times_cost() -> None:
    assert value(BaseRegularizer("size", 0.01), Toy()) == pytest.approx(0.01 * START)
    assert value(BaseRegularizer(strength=0.01), Toy(single=True)) == pytest.approx(0.01 * START)


def test_base_reaches_the_masks_every_time() -> None:
    model, regularizer = Toy(), BaseRegularizer("size", 0.01)
    for times in (1, 2):
        torch.autograd.backward(regularizer(model))
        assert model.masks.grad is not None
        assert model.masks.grad.tolist() == pytest.approx([0, 0.1 * times, 0.1 * times, 0.1 * times])


def test_relative_strength_is_in_units_of_the_initial_cost() -> None:
    model, regularizer = Toy(), BaseRegularizer("time", 0.5, relative=True)
    assert value(regularizer, model) == pytest.approx(0.5)
    with torch.no_grad():
        model.masks.zero_()
    assert value(regularizer, model) == pytest.approx(0.5 * (START - 30) / START)


def test_a_schedule_scales_the_strength() -> None:
    regularizer = BaseRegularizer("size", 0.01, schedule=linear(0, 1))
    assert [value(regularizer, Toy(), e, 5) for e in (1, 3, 5)] == pytest.approx([0, 0.005 * START, 0.01 * START])


@pytest.mark.parametrize("strength", [0, -1, float("nan"), float("inf")])
def test_strengths_are_positive(strength: float) -> None:
    with pytest.raises(UsageError):
        BaseRegularizer("size", strength)
    with pytest.raises(UsageError):
        DUCCIO({"size": 60}, final_strengths={"size": strength})
    with pytest.raises(UsageError):
        DUCCIO({"size": 60}, task_loss=strength)


def test_dummy_is_zero() -> None:
    assert value(DummyRegularizer(), Toy()) == 0


def test_duccio_at_full_strength_weighs_as_much_as_the_task() -> None:
    duccio = DUCCIO({"size": 60, "time": "50 %"}, task_loss=2.3)
    assert value(duccio, Toy()) == pytest.approx(2 * 2.3)
    assert duccio.limits == pytest.approx({"size": 60, "time": 500 * START})
    assert duccio.strengths["size"] == pytest.approx(2.3 / (START - 60))


def test_duccio_is_ramped_up_over_half_of_the_search() -> None:
    duccio, model = DUCCIO({"size": 60}, task_loss=1, growth=1), Toy()
    shares = [value(duccio, model, e, 10) for e in (0, 1, 2, 5, 9)]
    assert shares == pytest.approx([0.01, 0.01 + 0.198, 0.01 + 0.396, 1, 1])


def test_duccio_charges_nothing_below_the_limit() -> None:
    duccio, model = DUCCIO({"size": 60}, task_loss=1), Toy()
    value(duccio, model)
    with torch.no_grad():
        model.masks.zero_()
    model.eval()
    model.selections[0].alpha.data[1] = 1
    assert value(duccio, model) == 0
    assert duccio.met(model)


@pytest.mark.parametrize("target", [START, START * 1.0001, START * 2, START * 0.9999])
def test_duccio_keeps_a_limit_that_is_met_at_the_start(target: float) -> None:
    """PLiNIO: infinite strength and NaN at the limit, and strength 0 for ever above it."""
    duccio, model = DUCCIO({"size": target}, task_loss=2.0), Toy()
    assert 0 <= value(duccio, model) < 0.01
    assert 0 < duccio.strengths["size"] <= 2.0 / (0.1 * target) + 1e-9
    with torch.no_grad():
        model.masks.fill_(1 + target / 10)  # now far above
    charged = duccio(model)
    assert float(charged.detach()) > 1
    torch.autograd.backward(charged)
    assert model.masks.grad is not None
    assert float(model.masks.grad.abs().sum()) > 0


def test_duccio_refuses_what_no_model_reaches() -> None:
    with pytest.raises(UsageError, match="least that can be reached") as caught:
        DUCCIO({"size": 54}, task_loss=1)(Toy())
    assert "55" in str(caught.value)
    assert value(DUCCIO({"size": 54}, task_loss=1, check=False), Toy()) == pytest.approx(1)
    assert value(DUCCIO({"size": 55}, task_loss=1), Toy()) == pytest.approx(1)


def test_duccio_takes_strengths_as_mapping_or_sequence() -> None:
    for given in ({"time": 2e-6, "size": 1e-3}, (1e-3, 2e-6)):
        duccio = DUCCIO({"size": 60, "time": 60_000}, final_strengths=given)
        assert value(duccio, Toy()) == pytest.approx(1e-3 * (START - 60) + 2e-6 * 1000 * (START - 60))


@pytest.mark.parametrize(
    "arguments",
    [
        {"targets": {"size": 60}},
        {"targets": {"size": 60}, "task_loss": 1, "final_strengths": {"size": 1}},
        {"targets": {}, "task_loss": 1},
        {"targets": {"size": 60}, "final_strengths": {"time": 1}},
        {"targets": {"size": 60}, "final_strengths": (1, 2)},
        {"targets": {"size": 60}, "task_loss": 1, "growth": 0.9},
    ],
)
def test_duccio_refuses_bad_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        DUCCIO(**arguments)


@pytest.mark.parametrize("target", [-1, float("nan"), float("inf"), "many", "3 kB"])
def test_duccio_refuses_bad_targets(target: float | str) -> None:
    with pytest.raises(UsageError):
        DUCCIO({"size": target}, task_loss=1)(Toy())


def test_duccio_gets_dearer_while_a_limit_is_missed_after_the_ramp() -> None:
    duccio, model = DUCCIO({"size": 60}, task_loss=1, growth=2), Toy()
    seen = [[value(duccio, model, epoch, 4) for _batch in range(3)] for epoch in range(1, 7)]
    assert all(row[0] == row[1] == row[2] for row in seen)
    assert [row[0] for row in seen] == pytest.approx([0.505, 1, 2, 4, 8, 16])
    with torch.no_grad():
        model.masks.zero_()
    model.eval()
    model.selections[0].alpha.data[1] = 1
    value(duccio, model, 7, 4)
    assert duccio.grown == {"size": 16}


def test_duccio_goes_on_where_another_stopped() -> None:
    model = Toy()
    first = DUCCIO({"size": "60 %"}, task_loss=1)
    for epoch in (1, 2, 3):
        value(first, model, epoch, 3)
    with torch.no_grad():
        model.masks.mul_(0.9)
    second = DUCCIO({"size": "60 %"}, task_loss=1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert value(second, model, 4, 4) == value(first, model, 4, 4)
    base = BaseRegularizer("size", 1, relative=True)
    base.load_state_dict({"initial": 2.0})
    assert value(base, model) == pytest.approx(float(model.get_cost("size").detach()) / 2)


@pytest.mark.parametrize("growth", [1.0, 1.1])
def test_duccio_growth_wins_against_a_task_that_a_fixed_strength_loses_to(growth: float) -> None:
    """The toy's task pays 0.3 per mask; the strength comes from a task loss that was far too small."""
    model = Toy()
    for parameter in model.choices.parameters():
        parameter.requires_grad_(False)
    limit = START - 15
    duccio = DUCCIO({"size": limit}, task_loss=0.2, growth=growth)
    optimizer = torch.optim.SGD([model.masks], lr=1e-2)
    for epoch in range(1, 61):
        for _ in range(10):
            optimizer.zero_grad()
            task = -0.3 * model.masks.clamp(max=1).sum()
            torch.autograd.backward(task + duccio(model, epoch, 60))
            optimizer.step()
    reached = float(model.get_cost("size").detach())
    assert (abs(reached - limit) < 0.03 * limit) is (growth > 1)
