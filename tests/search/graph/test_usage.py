# SPDX-License-Identifier: Apache-2.0
"""What costs see of a network: kinds, sizes, tensors; and that a searched network costs what its export costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.search.cost import Add, Copy, Cost, Mul, Pool, flash, ops, ops_all, params, peak_ram
from plinio_deploy.search.graph.shapes import shapes
from plinio_deploy.search.graph.trace import trace
from plinio_deploy.search.graph.usage import program
from plinio_deploy.search.methods.pit import PIT
from tests.search.methods.pit.check import randomize_masks
from tests.search.methods.pit.toys import DSCNN, Repeated, SimpleNN, TCResNet, ToyAdd, ToyConcat, ToyMultiPath

COSTS: dict[str, Cost] = {"params": params, "ops": ops, "all": ops_all, "ram": peak_ram, "flash": flash}


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x)) + self.b(x)
        y = y * torch.sigmoid(F.adaptive_avg_pool2d(y, 1))
        y = torch.cat([F.max_pool2d(y, 2), F.avg_pool2d(y, 2)], 1)
        result: Tensor = self.fc(y.flatten(1))
        return result


def test_kinds_in_order() -> None:
    x = torch.rand(1, 3, 4, 4)
    traced = trace(Mixed(), [x])
    plan = program(traced, shapes(traced, [x]))
    kinds = [call.kind for call in plan.calls if call.form == "step"]
    assert kinds == [nn.Conv2d, nn.Conv2d, Add, Pool, Mul, Pool, Pool, Copy, nn.Linear]
    pools = [call.extra["kernel_size"] for call in plan.calls if call.kind is Pool]
    assert pools == [(4, 4), (2, 2), (2, 2)]
    assert plan.inputs == (("x", 48),)
    assert plan.calls[0].name == "a"


@pytest.mark.parametrize("build", [ToyAdd, SimpleNN, TCResNet, DSCNN, ToyConcat, ToyMultiPath, Repeated])
@pytest.mark.parametrize("seed", [0, 1])
def test_discrete_cost_is_that_of_the_exported_network(build: Any, seed: int) -> None:
    model = build()
    searched = PIT(model, cost=COSTS, input_shape=model.input_shape, discrete_cost=True, full_cost=True)
    randomize_masks(searched, seed)
    exported = PIT(searched.export(), cost=COSTS, input_shape=model.input_shape, full_cost=True)
    for name in COSTS:
        assert searched.get_cost(name).item() == pytest.approx(exported.get_cost(name).item(), rel=1e-6), name
    assert exported.get_cost("params").item() == sum(
        parameter.numel()
        for module in exported.seed.modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)
        for parameter in module.parameters(recurse=False)
    )
