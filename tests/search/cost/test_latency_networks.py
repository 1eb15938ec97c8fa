# SPDX-License-Identifier: Apache-2.0
"""The same table, asked by a search and about the integer network that the search's result becomes."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from plinio_deploy import MPS, PIT, MPSType
from plinio_deploy.integerize import integerize
from plinio_deploy.quantization import quantize
from plinio_deploy.search.cost import CostSpec, LayerUse, NetworkUse, Pool, evaluate, layer_costs
from plinio_deploy.targets.calibration.counts import DIGITS, FEATURES, MIXED
from plinio_deploy.targets.calibration.prediction import predict
from plinio_deploy.targets.luts import Lut

SHAPE = (3, 12, 10)


def table() -> Lut:
    """Every feature counts, for every op at every pair of widths, with numbers of no meaning.

    Only those of `DIGITS` do not: they hang on the weights, which a search does not know before it has trained them;
    nor those of `MIXED`, which a layer of one width has none of.
    """
    coefficients = {name: 1.0 + index / 7 for index, name in enumerate(FEATURES) if name not in (*DIGITS, *MIXED)}
    weighted = [
        {"op": op, "kernel": op, "w_bits": w_bits, "a_bits": a_bits, "coefficients": coefficients}
        for op in ("conv", "pointwise", "depthwise", "linear")
        for w_bits in (2, 4, 8)
        for a_bits in (2, 4, 8)
    ]
    plain = [
        {"op": op, "kernel": op, "a_bits": a_bits, "coefficients": coefficients}
        for op in ("add", "pool", "max_pool", "copy")
        for a_bits in (2, 4, 8)
    ]
    choices = [
        {"op": row["op"], "w_bits": row.get("w_bits"), "a_bits": row["a_bits"], "tree": row["op"]}
        for row in (*weighted, *plain)
    ]
    head = {"schema": 1, "target": "cortex-m4", "unit": "cycles", "source": "model", "call": 5.0}
    return Lut.model_validate({**head, "terms": [*weighted, *plain], "choices": choices})


def cost() -> CostSpec:
    found: CostSpec = sys.modules["plinio_deploy.search.cost.latency"].from_table(table(), unit="cycle")
    return found


class Model(nn.Module):
    """Every kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.point = nn.Conv2d(8, 8, 1)
        self.wide = nn.Conv2d(8, 12, (5, 3), padding=(2, 1))
        self.fc = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.point(torch.relu(self.deep(x))) + x)
        x = nn.functional.max_pool2d(torch.relu(self.wide(x)), 2)
        result: Tensor = self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return result


def integer_total(model: nn.Module) -> float:
    qnet = quantize(model.eval(), torch.zeros(1, *SHAPE)).calibrate([torch.rand(8, *SHAPE)])
    return predict(table(), integerize(qnet, "net")).total


def test_a_search_and_the_integer_network_agree_on_the_cost() -> None:
    torch.manual_seed(0)
    model = Model()
    nas = PIT(model, cost=cost(), input_shape=SHAPE, full_cost=True)
    assert nas.cost.item() == pytest.approx(integer_total(model), rel=1e-6)


def test_masks_get_gradients_and_pruned_networks_cost_what_they_become() -> None:
    torch.manual_seed(0)
    nas = PIT(Model(), cost=cost(), input_shape=SHAPE, full_cost=True)
    torch.autograd.backward(nas.cost)
    searched = list(nas.nas_parameters())
    assert searched
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in searched if p.requires_grad)
    masks = [p for p in searched if len(p) in (8, 12)]
    with torch.no_grad():
        for mask in masks:
            mask[: len(mask) // 3] = 0.0
    nas.discrete_cost = True
    assert nas.cost.item() == pytest.approx(integer_total(nas.export()), rel=1e-6)


@pytest.mark.parametrize("kind", [MPSType.PER_LAYER, MPSType.PER_CHANNEL])
def test_widths_get_gradients_and_parts_of_a_layer_share_what_is_done_once(kind: MPSType) -> None:
    torch.manual_seed(0)
    nas = MPS(
        Model(), cost=cost(), input_shape=SHAPE, w_search_type=kind, full_cost=True, calibration=[torch.rand(4, *SHAPE)]
    )
    nas(torch.rand(2, *SHAPE))
    total = nas.cost
    torch.autograd.backward(total)
    assert any(p.grad is not None and bool((p.grad != 0).any()) for p in nas.nas_parameters())
    # The made-up table has the same numbers for all widths, so a mixture costs nearly what one width costs: blocks of
    # channels are rounded up in each part.
    assert total.item() == pytest.approx(integer_total(Model()), rel=0.12)


def conv_uses(numbers: Tensor) -> NetworkUse:
    """A layer in two parts, its output pooled, with nothing about them known for sure."""
    cin, first, second, height, width, chance, elements = numbers.unbind()
    module = nn.Conv2d(8, 12, (5, 3), padding=(2, 1))
    shapes = {"input_shape": (1, 8, 12, 10), "output_shape": (1, 12, 12, 10)}
    static = {**vars(module), "bias": True, **shapes}
    searched = {"in_channels": cin, "kernel_size": (height, width), "all_channels": first + second}
    mixed = [{**static, **searched, "out_channels": n, "w_precision": bits} for n, bits in ((first, 8), (second, 4))]
    parts = [LayerUse("conv", nn.Conv2d, spec, chance, 1, static) for spec in mixed]
    pool = {"elements": elements, "inputs": 1, "kernel_size": (2, 2), "maximum": True}
    shapes = {"input_shape": (1, 12, 12, 10), "output_shape": (1, 12, 6, 5)}
    return NetworkUse((*parts, LayerUse("pool", Pool, {**pool, **shapes}, 1 - chance)))


def test_slopes_are_those_of_the_value() -> None:
    # Away from halves, where the nearest layer that can be built is another one.
    numbers = torch.tensor([5.2, 4.3, 6.1, 3.2, 2.1, 0.7, 270.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda at: evaluate(cost(), conv_uses(at)), (numbers,), rtol=1e-6)
    (gradient,) = torch.autograd.grad(evaluate(cost(), conv_uses(numbers)), numbers)
    assert bool((gradient != 0).all())


def test_a_layers_own_cost_adds_up_to_that_of_the_network_and_a_formula_alone_is_a_tensor() -> None:
    numbers = torch.tensor([5.0, 4.0, 6.0, 3.0, 2.0, 0.5, 270.0], requires_grad=True)
    use = conv_uses(numbers)
    parts = layer_costs(cost(), use)
    assert list(parts) == ["conv", "pool"]
    assert sum(part.item() for part in parts.values()) == pytest.approx(evaluate(cost(), use).item(), rel=1e-6)
    formula = cost()[nn.Conv2d]
    alone = formula({**use.layers[0].spec, "static": use.layers[0].static})
    assert isinstance(alone, Tensor)
    assert alone.requires_grad
    (whole,) = torch.autograd.grad(parts["pool"] * 3, numbers)
    assert whole[:5].abs().sum() == 0
    assert whole[5].item() == pytest.approx(-3 * parts["pool"].item() / 0.5, rel=1e-6)
