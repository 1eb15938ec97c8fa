# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search import cost
from plinio_deploy.search.cost.spec import Spec
from tests.search.cost.record import gradients, record

SHAPE = (1, 8, 6, 6)
FORMULAS = {
    cost.Conv2dGeneric: lambda spec: 1.0,
    cost.Conv2d3x3: lambda spec: 2.0,
    cost.Conv2dDW: lambda spec: 3.0,
    cost.LinearGeneric: lambda spec: 4.0,
}


@pytest.mark.parametrize("order", list(itertools.permutations(FORMULAS)))
def test_the_narrowest_pattern_wins_in_any_order(order: tuple[cost.Pattern, ...]) -> None:
    spec = cost.CostSpec()
    for pattern in order:
        spec[pattern] = FORMULAS[pattern]
    for layer, expected in [
        (nn.Conv2d(8, 4, 1), 1.0),
        (nn.Conv2d(8, 4, 3), 2.0),
        (nn.Conv2d(8, 8, 3, groups=8), 3.0),
        (nn.Conv2d(8, 8, 1, groups=8), 3.0),
    ]:
        assert float(cost.evaluate(spec, record(nn.Sequential(layer), SHAPE))) == expected


def test_a_class_alone_and_a_pair_are_patterns() -> None:
    spec = cost.CostSpec()
    spec[nn.Conv2d] = lambda s: 1.0
    spec[nn.Conv2d, lambda s: s["out_channels"] == 4] = lambda s: 2.0
    assert cost.Conv2dGeneric in spec
    assert len(spec) == 2
    assert float(cost.evaluate(spec, record(nn.Sequential(nn.Conv2d(8, 4, 1)), SHAPE))) == 2.0


def test_a_subclass_has_the_formula_of_its_class_until_it_has_its_own() -> None:
    class Mine(nn.Conv2d):
        pass

    use = record(nn.Sequential(Mine(8, 4, 3)), SHAPE)
    spec = cost.CostSpec()
    spec[cost.Conv2d3x3] = lambda s: 1.0
    assert float(cost.evaluate(spec, use)) == 1.0
    spec[Mine] = lambda s: 2.0
    assert float(cost.evaluate(spec, use)) == 2.0


def test_two_equally_narrow_patterns_are_an_error_that_names_both() -> None:
    spec = cost.CostSpec()
    spec[cost.Pattern("even", nn.Conv2d, lambda s: True, 1)] = lambda s: 1.0
    spec[cost.Pattern("odd", nn.Conv2d, lambda s: True, 1)] = lambda s: 1.0
    with pytest.raises(UsageError, match="neither is narrower") as caught:
        cost.evaluate(spec, record(nn.Sequential(nn.Conv2d(8, 4, 1)), SHAPE))
    assert caught.value.got == "even and odd"
    assert caught.value.where == "0"


def test_constraints_are_asked_about_the_layer_as_built() -> None:
    spec = cost.CostSpec()
    spec[cost.Conv2dGeneric] = lambda s: 1.0
    spec[cost.Conv2dDW] = lambda s: 2.0
    built = record(nn.Sequential(nn.Conv2d(8, 8, 1, groups=8)), SHAPE).layers[0]
    pruned = {**built.spec, "in_channels": torch.tensor(3.2), "out_channels": torch.tensor(3.2)}
    use = cost.NetworkUse((cost.LayerUse("dw", nn.Conv2d, pruned, static=built.spec),))
    assert float(cost.evaluate(spec, use)) == 2.0


def test_default_fail_names_layer_and_class() -> None:
    spec = cost.CostSpec(default_behavior="fail")
    spec[cost.Conv2dGeneric] = lambda s: 1.0
    model = nn.Sequential(nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(144, 2))
    with pytest.raises(UsageError, match="no formula for Linear") as caught:
        cost.evaluate(spec, record(model, SHAPE))
    assert caught.value.where == "2"
    with pytest.raises(UsageError, match="two values"):
        cost.CostSpec(default_behavior="maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "free"),
    [(nn.ReLU, True), (nn.BatchNorm2d, True), (nn.Identity, True), (cost.Add, True), (nn.MultiheadAttention, False)],
)
def test_what_costs_nothing_never_fails(kind: type, free: bool) -> None:
    spec = cost.CostSpec(default_behavior="fail")
    use = cost.NetworkUse((cost.LayerUse("x", kind, {"elements": 1.0}),))
    if free:
        assert float(cost.evaluate(spec, use)) == 0
    else:
        with pytest.raises(UsageError):
            cost.evaluate(spec, use)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(self.conv(x))
        return result


def test_shared_counts_modules_and_the_others_count_calls() -> None:
    use = record(Twice(), SHAPE)
    assert float(cost.evaluate(cost.params, use)) == 8 * 73
    assert float(cost.evaluate(cost.ops, use)) == 2 * 8 * 73 * 36


def test_a_module_called_on_several_paths_is_there_if_any_call_may_run() -> None:
    built = record(nn.Sequential(nn.Conv2d(8, 8, 3)), SHAPE).layers[0]
    theta = torch.tensor([0.25, 0.75], requires_grad=True)
    uses = tuple(cost.LayerUse("c", built.kind, built.spec, weight=theta[i], module_id=1) for i in range(2))
    total = cost.evaluate(cost.params, cost.NetworkUse(uses))
    assert float(total.detach()) == pytest.approx(0.75 * 8 * 73)
    assert gradients(total, theta)[0].tolist() == [0, 8 * 73]


def test_weights_scale_costs_and_layers_sum_to_the_total() -> None:
    model = nn.Sequential(nn.Conv2d(8, 4, 1), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    use = record(model, SHAPE)
    parts = cost.layer_costs(cost.ops, use)
    assert list(parts) == ["0", "1", "3"]
    assert float(sum(parts.values(), torch.zeros(()))) == float(cost.evaluate(cost.ops, use))
    half = cost.NetworkUse(tuple(cost.LayerUse(u.name, u.kind, u.spec, 0.5, u.module_id) for u in use.layers))
    assert float(cost.evaluate(cost.ops, half)) == float(cost.evaluate(cost.ops, use)) / 2


def test_users_formulas_and_network_costs() -> None:
    def formula(spec: Spec) -> float:
        return float(spec["out_channels"] * 3)

    mine = cost.CostSpec(shared=False)
    mine[cost.Conv2dGeneric] = formula
    use = record(nn.Sequential(nn.Conv2d(8, 4, 1)), SHAPE)
    assert float(cost.evaluate(mine, use)) == 12
    depth = cost.NetworkCost("depth", lambda network: float(len(network.layers)))
    assert float(cost.evaluate(depth, use)) == 1
    assert cost.layer_costs(depth, use) == {}
    assert float(cost.evaluate(mine, cost.NetworkUse(()))) == 0
