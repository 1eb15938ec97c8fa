# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plinio_deploy import PIT, cost
from plinio_deploy.recipes.checkpoint import read_state
from plinio_deploy.recipes.loop import Loop, Searching, Settings
from plinio_deploy.recipes.training import load_data
from tests.plinio_deploy.pipeline.searched_recipe import Searched

SETTINGS = Settings("pit", 3, 1e-2, 64, 0.5, 0, "smaller")


class Counting:
    """A price that knows how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.epochs: list[int] = []

    def __call__(self, model: Any, epoch: int = 1, n_epochs: int = 1) -> Tensor:
        self.calls += 1
        self.epochs.append(epoch)
        price: Tensor = model.cost * 1e-4
        return price

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.calls = int(state["calls"])


def parts(folder: Path) -> tuple[PIT, Counting, Loop, list[int], torch.optim.Optimizer]:
    recipe = Searched()
    torch.manual_seed(0)
    nas = PIT(recipe.model(), cost=cost.params, input_shape=recipe.input_shape, full_cost=True)
    price, before = Counting(), list[int]()
    masks = torch.optim.Adam(list(nas.nas_parameters()), lr=0.05)
    searching = Searching(masks, price, before.append, lambda: {"params": nas.cost.item()})
    loop = Loop(recipe, load_data(recipe), nas, SETTINGS, folder / "c.safetensors", None, searching)
    return nas, price, loop, before, masks


def test_a_search_keeps_the_rate_of_its_masks_and_its_last_epoch(tmp_path: Path) -> None:
    nas, price, loop, before, masks = parts(tmp_path)
    loop.run()
    assert before == [0, 1, 2]
    assert sorted(set(price.epochs)) == [1, 2, 3]
    assert masks.param_groups[0]["lr"] == 0.05
    assert len({row["costs"]["params"] for row in loop.history}) == 3
    assert nas.cost.item() == loop.history[-1]["costs"]["params"], "not the best epoch's"


def test_weights_decay_and_masks_do_not(tmp_path: Path) -> None:
    nas, _, loop, _, masks = parts(tmp_path)
    decaying = {id(p) for group in loop._groups() if group["weight_decay"] for p in group["params"]}
    searched = {id(p) for p in nas.nas_parameters()}
    assert decaying
    assert not decaying & searched
    assert {id(p) for group in masks.param_groups for p in group["params"]} == searched


def test_a_checkpoint_holds_both_optimizers_and_the_price(tmp_path: Path) -> None:
    nas, price, loop, _, _ = parts(tmp_path)
    loop.run()
    tensors, facts = read_state(tmp_path / "c.safetensors")
    assert facts["regularizer"] == {"calls": price.calls}
    assert {name.split(".")[1] for name in tensors if name.startswith("optimizer.")} == {"0", "1"}
    again, other, resumed, before, _ = parts(tmp_path)
    resumed.run()
    assert not before, "nothing is left to train"
    assert other.calls == price.calls
    assert resumed.history == loop.history
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), nas.parameters(), strict=True))


def test_training_changes_samples_as_the_recipe_says() -> None:
    seen: list[Tensor] = []

    class Shifted(Searched):
        epochs = 1

        def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
            seen.append(x + torch.rand(len(x), 1, 1, 1, generator=generator))
            return seen[-1]

    def train() -> nn.Module:
        recipe = Shifted()
        torch.manual_seed(0)
        settings = Settings("float", 1, 1e-2, 64, 0.0, 0)
        return Loop(recipe, load_data(recipe), recipe.model(), settings, None, None).run()

    first, second = train(), train()
    assert len(seen) == 2 * 9
    assert all(torch.equal(a, b) for a, b in zip(seen[:9], seen[9:], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_teacher_is_learned_from_at_its_weight(tmp_path: Path) -> None:
    recipe = Searched()
    data = load_data(recipe)
    x = torch.from_numpy(data.val.x)

    def trained(weight: float) -> float:
        torch.manual_seed(0)
        student, teacher = recipe.model(), recipe.model()
        settings = replace(SETTINGS, epochs=6, weight_decay=0.0, goal="", distill=weight)
        Loop(recipe, data, student, settings, None, None, teacher=teacher if weight else None).run()
        with torch.no_grad():
            return float((student(x).softmax(1) - teacher.eval()(x).softmax(1)).abs().mean())

    assert trained(1.0) < trained(0.0) / 2, "the teacher is not trained: only who listens to it answers as it does"
