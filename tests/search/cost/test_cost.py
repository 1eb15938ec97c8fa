# SPDX-License-Identifier: Apache-2.0
"""PLiNIO's published numbers, and the right ones where it is wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.recipes.models.resnet8 import ResNet8
from plinio_deploy.search import cost
from tests.search.cost.record import gradients, record

CONV = (nn.Conv2d(16, 32, 3, padding=1), (1, 16, 8, 8))
DEPTHWISE = (nn.Conv2d(16, 16, 3, padding=1, groups=16), (1, 16, 8, 8))
POINTWISE = (nn.Conv2d(16, 32, 1), (1, 16, 8, 8))
LINEAR = (nn.Linear(64, 10), (1, 64))


def price(spec: cost.Cost, layer: tuple[nn.Module, tuple[int, ...]], **extra: Any) -> float:
    return float(cost.evaluate(spec, record(nn.Sequential(layer[0]), layer[1], **extra)))


@pytest.mark.parametrize(
    ("spec", "layer", "extra", "expected"),
    [
        (cost.params, CONV, {}, 4640),
        (cost.ops, CONV, {}, 296_960),
        (cost.params_no_bias, CONV, {}, 4608),
        (cost.ops_no_bias, CONV, {}, 294_912),
        (cost.params_bit, CONV, {"w_precision": 4}, 18_432),
        (cost.ops_bit, CONV, {"w_precision": 4, "in_precision": 8}, 9_437_184),
        (cost.mpic_latency, CONV, {"w_precision": 4, "in_precision": 8}, 129_113.04),
        (cost.mpic_energy, CONV, {"w_precision": 4, "in_precision": 8}, 2.7798e-6),
        (cost.diana_latency, CONV, {"w_precision": 8}, 2688),
        (cost.diana_latency, CONV, {"w_precision": 2}, 1443.2),
        (cost.gap8_latency, CONV, {}, 17_760),
        (cost.ne16_latency, CONV, {"w_precision": 2}, 1467),
        (cost.ne16_latency, CONV, {"w_precision": 4}, 2043),
        (cost.ne16_latency, CONV, {"w_precision": 8}, 3195),
        (cost.ne16_latency, POINTWISE, {"w_precision": 8}, 1071),
        (cost.ne16_latency, POINTWISE, {"w_precision": 4}, 1071),
        (cost.params, DEPTHWISE, {}, 160),
        (cost.ops, DEPTHWISE, {}, 10_240),
        (cost.gap8_latency, DEPTHWISE, {}, 9216),
        (cost.ne16_latency, DEPTHWISE, {"w_precision": 8}, 2043),
        (cost.gap8_latency, LINEAR, {}, 96),
        (cost.params, LINEAR, {}, 650),
        (cost.ops, LINEAR, {}, 650),
        (cost.params_bit, LINEAR, {"w_precision": 8}, 5120),
        (cost.ops_bit, LINEAR, {"w_precision": 8, "in_precision": 8}, 40_960),
    ],
)
def test_published_number(
    spec: cost.CostSpec, layer: tuple[nn.Module, tuple[int, ...]], extra: dict[str, Any], expected: float
) -> None:
    assert price(spec, layer, **extra) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "expected"), [(cost.params, 77_706), (cost.ops, 12_587_658), (cost.gap8_latency, 766_624)]
)
def test_resnet8_as_published(spec: cost.CostSpec, expected: float) -> None:
    assert float(cost.evaluate(spec, record(ResNet8(), (1, 3, 32, 32)))) == pytest.approx(expected, rel=1e-6)


def test_a_group_convolution_is_charged_for_its_groups() -> None:
    # PLiNIO charges 2320, a full convolution.
    layer = nn.Conv2d(16, 16, 3, padding=1, groups=4)
    assert price(cost.params, (layer, (1, 16, 8, 8))) == 592 == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 5), (1, 4, 20)),
        (nn.Conv1d(4, 8, 3, groups=2), (1, 4, 20)),
        (nn.Conv2d(4, 8, (3, 1), groups=4, bias=False), (1, 4, 9, 9)),
        (nn.Conv3d(2, 3, 3), (1, 2, 5, 6, 7)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (1, 4, 5, 5)),
        (nn.ConvTranspose1d(4, 4, 3, groups=4, bias=False), (1, 4, 9)),
        (nn.Linear(7, 3), (1, 7)),
        (nn.Linear(7, 3, bias=False), (1, 5, 7)),
    ],
)
def test_params_are_those_of_the_module_and_ops_those_of_its_loop(layer: nn.Module, shape: tuple[int, ...]) -> None:
    assert price(cost.params, (layer, shape)) == sum(p.numel() for p in layer.parameters())
    assert price(cost.ops_no_bias, (layer, shape)) == counted_macs(layer, shape)


def counted_macs(layer: nn.Module, shape: tuple[int, ...]) -> int:
    """By the layer itself: with weights and inputs of 1 and no padding, the sum of its outputs."""
    x = torch.ones(shape)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.fill_(0.0 if name == "bias" else 1.0)
        return round(float(layer(x).sum()))


def test_parts_of_different_widths_are_counted_once() -> None:
    # 4 of 8 channels pruned, the others at 8 bits: 1152 bits of weights; PLiNIO says 576.
    layer = nn.Conv2d(4, 8, 3, bias=False)
    whole = record(nn.Sequential(layer), (1, 4, 8, 8)).layers[0]
    parts = tuple(
        cost.LayerUse(
            whole.name,
            whole.kind,
            {**whole.spec, "out_channels": torch.tensor(4.0), "w_precision": bits},
            module_id=1,
            static=whole.spec,
            part=part,
        )
        for part, bits in enumerate((0, 8))
    )
    assert float(cost.evaluate(cost.params_bit, cost.NetworkUse(parts))) == 1152
    assert float(cost.evaluate(cost.flash, cost.NetworkUse(parts))) == 1152 / 8 + 4 * 8


def searched(layer: nn.Module, shape: tuple[int, ...], **values: Any) -> cost.NetworkUse:
    use = record(nn.Sequential(layer), shape).layers[0]
    changed = cost.LayerUse(use.name, use.kind, {**use.spec, **values}, 1.0, 1, use.spec)
    return cost.NetworkUse((changed,))


ALL = {
    "params": cost.params,
    "ops": cost.ops,
    "ops_all": cost.ops_all,
    "params_bit": cost.params_bit,
    "ops_bit": cost.ops_bit,
    "mpic": cost.mpic_latency,
    "gap8": cost.gap8_latency,
    "diana": cost.diana_latency,
    "ne16": cost.ne16_latency,
    "flash": cost.flash,
}


@pytest.mark.parametrize("name", ALL)
def test_both_channel_counts_get_gradients(name: str) -> None:
    cin, cout = torch.tensor(13.3, requires_grad=True), torch.tensor(20.7, requires_grad=True)
    total = cost.evaluate(ALL[name], searched(*CONV, in_channels=cin, out_channels=cout))
    assert all(gradient > 0 for gradient in gradients(total, cin, cout))


@pytest.mark.parametrize("name", [*ALL])
@pytest.mark.parametrize("layer", [CONV, DEPTHWISE, POINTWISE])
def test_whole_channel_counts_cost_what_the_pruned_layer_costs(
    name: str, layer: tuple[nn.Conv2d, tuple[int, ...]]
) -> None:
    module, shape = layer
    groups = module.groups
    cin, cout = (11, 11) if groups > 1 else (11, 27)
    kernel = int(module.kernel_size[0])
    pruned = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, groups=cin if groups > 1 else 1)
    exact = price(ALL[name], (pruned, (1, cin, *shape[2:])))
    use = searched(module, shape, in_channels=torch.tensor(float(cin)), out_channels=torch.tensor(float(cout)))
    assert float(cost.evaluate(ALL[name], use)) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("name", [*ALL])
def test_costs_grow_with_channels_and_vanish_with_them(name: str) -> None:
    def at(cout: int) -> float:
        return float(cost.evaluate(ALL[name], searched(*CONV, out_channels=torch.tensor(float(cout)))))

    values = [at(cout) for cout in range(1, 70)]
    assert values == sorted(values)
    assert at(0) == 0


@pytest.mark.parametrize(
    ("spec", "extra"),
    [
        (cost.mpic_latency, {"w_precision": 3}),
        (cost.mpic_latency, {"in_precision": 16}),
        (cost.diana_latency, {"w_precision": 4}),
        (cost.ne16_latency, {"in_precision": 4}),
    ],
)
def test_a_width_without_a_figure_is_refused(spec: cost.CostSpec, extra: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="no figure for this"):
        price(spec, CONV, **extra)


def test_analog_array_refuses_groups() -> None:
    with pytest.raises(UsageError, match="no group convolution"):
        price(cost.diana_latency, DEPTHWISE, w_precision=2)


@pytest.mark.parametrize("name", ["params", "ops", "params_bit", "mpic", "gap8", "flash"])
def test_a_searched_kernel_gets_a_gradient(name: str) -> None:
    taps = torch.tensor(2.4, requires_grad=True)
    use = searched(*CONV, kernel_size=(taps, 3), in_channels=torch.tensor(11.0))
    assert gradients(cost.evaluate(ALL[name], use), taps)[0] > 0


def test_gap8_stays_within_the_peak_of_its_cores() -> None:
    for cout in range(1, 17):
        macs = price(cost.ops_no_bias, (nn.Conv2d(8, cout, 3, padding=1), (1, 8, 16, 16)))
        cycles = price(cost.gap8_latency, (nn.Conv2d(8, cout, 3, padding=1), (1, 8, 16, 16)))
        assert macs / cycles <= 16


def test_ne16_takes_halves_as_well_as_the_whole() -> None:
    # Two parts of 32 channels each at the same width are two full passes, as 64 channels are.
    whole = float(cost.evaluate(cost.ne16_latency, searched(*CONV, out_channels=64)))
    half = float(cost.evaluate(cost.ne16_latency, searched(*CONV, out_channels=32)))
    assert whole == 2 * half


def test_descending_a_cost_shrinks_the_layer() -> None:
    cout = torch.tensor(32.0, requires_grad=True)
    for _ in range(50):
        total = cost.evaluate(cost.ne16_latency, searched(*CONV, out_channels=cout))
        cout = (cout - 1e-3 * gradients(total, cout)[0]).detach().requires_grad_()
    assert cout.item() < 31


def test_adds_pools_and_requantizations_count_in_ops_all_only() -> None:
    shape = (1, 8, 4, 4)
    common = {"elements": 128.0, "input_shape": shape, "output_shape": shape}
    uses = (
        cost.LayerUse("a", cost.Add, {**common, "inputs": 2}),
        cost.LayerUse("p", cost.Pool, {**common, "kernel_size": (2, 2)}),
        cost.LayerUse("r", cost.Requantize, common),
    )
    assert float(cost.evaluate(cost.ops, cost.NetworkUse(uses))) == 0
    assert float(cost.evaluate(cost.ops_all, cost.NetworkUse(uses))) == 128 * (3 + 4 + 1)


def test_flash_rounds_rows_to_bytes() -> None:
    # 3 inputs x 9 taps x 2 bits = 54 bits = 7 bytes a row, and 8 bytes of bias and multiplier.
    assert price(cost.flash, (nn.Conv2d(3, 5, 3), (1, 3, 8, 8)), w_precision=2) == 5 * (math.ceil(54 / 8) + 8)
    use = record(nn.Sequential(nn.Conv2d(3, 5, 3)), (1, 3, 8, 8))
    assert float(cost.evaluate(cost.flash_with(1000), use)) == float(cost.evaluate(cost.flash, use)) + 1000


def test_every_cost_says_what_it_counts_in() -> None:
    units = {name: spec.unit for name, spec in vars(cost).items() if isinstance(spec, cost.CostSpec | cost.NetworkCost)}
    assert units.pop("ops_bit") == units.pop("ops_bit_no_bias") == ""  # bit operations: a unit of their own
    assert set(units.values()) == {"param", "op", "bit", "byte", "cycle", "J"}
