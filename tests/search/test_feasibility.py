# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import torch
from torch import nn

from plinio_deploy.search.cost import params_bit
from plinio_deploy.search.feasibility import least_cost, read_cost
from plinio_deploy.search.methods.mps import MPS, MPSType, get_default_qinfo
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


def test_the_least_precision_may_be_none() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    x = torch.rand(8, 1, 4, 4)
    options: dict[str, Any] = {"cost": params_bit, "input_example": x[:1], "calibration": [x], "full_cost": True}
    kept = MPS(model, qinfo=get_default_qinfo((2, 4, 8), (8,)), w_search_type=MPSType.PER_CHANNEL, **options)
    assert least_cost(kept) == 2 * (36 + 64)
    pruned = MPS(model, qinfo=get_default_qinfo((0, 2, 4, 8), (8,)), w_search_type=MPSType.PER_CHANNEL, **options)
    # One channel of the convolution stays, and with it 4 inputs of each output; the outputs are all needed.
    assert least_cost(pruned) <= 2 * (9 + 16)
