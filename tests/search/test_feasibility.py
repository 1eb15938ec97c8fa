# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from plinio_deploy.search.feasibility import least_cost, read_cost
from tests.search.toy import Toy


def test_least_cost_is_that_of_the_cheapest_branches_and_masks() -> None:
    assert least_cost(Toy(), "size") == 10 + 40 + 5
    assert least_cost(Toy(), "time") == 55_000
    assert least_cost(Toy(single=True)) == 55


def test_what_is_frozen_stays() -> None:
    model = Toy()
    model.masks.requires_grad_(False)
    assert least_cost(model, "size") == 40 + 40 + 5
    model.selections[0].train_selection = False  # uniform alpha: eval takes the first branch
    assert least_cost(model, "size") == 40 + 100 + 5


def test_the_model_is_left_as_it_was() -> None:
    model = Toy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    model.selections[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    least_cost(model, "size")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert not model.selections[0].training
    assert all(p.requires_grad for p in model.parameters())


def test_the_name_of_a_single_cost_does_not_matter() -> None:
    assert float(read_cost(Toy(single=True), "anything").detach()) == float(Toy(single=True).get_cost().detach())
