# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy.errors import RecipeError
from plinio_deploy.quantization import QuantNetwork
from plinio_deploy.recipe import Data, Recipe
from plinio_deploy.recipes.chain import ARCHITECTURE, PARETO, RECORD, Chain, Plan, rebuilt, starting
from plinio_deploy.recipes.goals import Goal, measure
from plinio_deploy.recipes.loop import Progress
from plinio_deploy.recipes.training import build_model, load_data, train_float
from tests.plinio_deploy.pipeline.searched_recipe import Searched

GOAL = Goal(limits={"flash": 400.0})
ALL = ("supernet", "pit", "mps")


class Stop(Exception):
    """Raised by a callback in place of a kill."""


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(Searched())


@pytest.fixture(scope="module")
def trained(data: Data) -> nn.Module:
    return train_float(Searched(), data=data)


def plan(methods: tuple[str, ...], goal: Goal = GOAL) -> Plan:
    return Plan(methods, goal, warmup=1, search=3, tune=2, qat=1, seed=0)


def run(data: Data, trained: nn.Module, work: Path, methods: tuple[str, ...], progress: Any = None) -> QuantNetwork:
    chain = Chain(Searched(), data, plan(methods), work, progress)
    nas, _ = chain.last(chain.before_last(trained, GOAL), GOAL)
    found = chain.tune(nas)
    chain.save(work, found)
    return found


@pytest.fixture(scope="module")
def undisturbed(data: Data, trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, QuantNetwork]:
    """What all three methods leave if nothing happens to them."""
    epochs: list[Progress] = []
    folder = tmp_path_factory.mktemp("undisturbed")
    found = run(data, trained, folder, ALL, epochs.append)
    assert len(epochs) == plan(ALL).epochs() == 12
    return folder, found


def equal(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("methods", "norms"), [(("pit",), True), (("supernet", "mps"), False), (ALL, True)])
def test_what_is_written_is_what_was_found(
    methods: tuple[str, ...],
    norms: bool,
    data: Data,
    trained: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Searched, "qat_norms", norms)
    found = run(data, trained, tmp_path, methods)
    again = rebuilt(Searched(), methods, GOAL, tmp_path)
    assert equal(again, found)
    x = torch.from_numpy(data.test.x)
    assert torch.equal(again(x), found.eval()(x))
    rows = [json.loads(line) for line in (tmp_path / RECORD).read_text().splitlines()]
    assert {row["phase"] for row in rows} >= {*methods, "qat"}
    assert all({"loss", "metric", "epoch"} <= row.keys() for row in rows)
    assert all("flash" in row["costs"] for row in rows if row["phase"] in methods)
    points = json.loads((tmp_path / PARETO).read_text())["points"]
    assert [point["phase"] for point in points] == ["seed", *methods, "final"]
    assert set(json.loads((tmp_path / ARCHITECTURE).read_text())) == set(methods)


@pytest.mark.parametrize("stop", [2, 5, 8, 12])
def test_an_interrupted_chain_goes_on_to_the_same_bits(
    stop: int, data: Data, trained: nn.Module, undisturbed: tuple[Path, QuantNetwork], tmp_path: Path
) -> None:
    folder, expected = undisturbed
    count = 0

    def interrupt(_: Progress) -> None:
        nonlocal count
        count += 1
        if count == stop:
            raise Stop

    with pytest.raises(Stop):
        run(data, trained, tmp_path, ALL, interrupt)
    again: list[Progress] = []
    assert equal(run(data, trained, tmp_path, ALL, again.append), expected)
    assert len(again) == 12 - stop, "what was finished is not trained again"
    for name in (RECORD, PARETO, ARCHITECTURE, "network.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_last_method_may_be_asked_again_for_less(data: Data, trained: nn.Module, tmp_path: Path) -> None:
    chain = Chain(Searched(), data, plan(("pit",)), tmp_path, None)
    start = chain.before_last(trained, GOAL)
    _, first = chain.last(start, GOAL)
    nas, second = chain.last(start, GOAL.within({"flash": 250.0}))
    assert second["flash"] <= 250 < first["flash"] <= 400
    assert [point["phase"] for point in chain.points] == ["seed", "pit", "pit again 1"]
    assert measure(nas, chain.plan.goal.costs()) == second


def test_alternatives_start_from_trained_weights(trained: nn.Module) -> None:
    model = starting(Searched(), ("supernet",), trained)
    state = model.state_dict()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(state[name.replace("3.", "3.branches.0.", 1) if name.startswith("3.") else name], tensor)


def test_a_recipe_without_alternatives_says_so(trained: nn.Module) -> None:
    class Plain(Searched):
        supernet = Recipe.supernet

    with pytest.raises(RecipeError, match="no alternatives"):
        starting(Plain(), ("supernet",), trained)
    assert starting(Plain(), ("pit",), trained) is trained


def test_alternatives_that_do_not_start_with_the_model_are_refused() -> None:
    class Other(Searched):
        def model(self) -> nn.Module:
            return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2))

    with pytest.raises(RecipeError, match="do not start with"):
        starting(Other(), ("supernet",), build_model(Other()))
