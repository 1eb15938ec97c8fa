# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search import cost
from plinio_deploy.search.cost.evaluate import LayerUse, NetworkUse
from plinio_deploy.search.methods.odimo import DIANA, Accelerator, Platform
from plinio_deploy.search.methods.odimo.platform import SHARPNESS, smooth_max
from tests.search.methods.odimo.two_cores import FAST, SLOW, TWO_CORES, fast_cycles

CONV = nn.Conv2d(16, 32, 3)
SHAPES = {"input_shape": (1, 16, 10, 10), "output_shape": (1, 32, 8, 8)}


def use(widths: dict[int, Any], layer: nn.Module = CONV, **extra: Any) -> NetworkUse:
    """A convolution from 16 to 32 channels, output 8 x 8, with so many channels of each width."""
    static = {**vars(layer), "bias": True, **SHAPES, **extra}
    parts = [
        LayerUse("a", type(layer), {**static, "w_precision": bits, "out_channels": count}, 1.0, 1, static, index)
        for index, (bits, count) in enumerate(widths.items())
    ]
    return NetworkUse(tuple(parts))


def price(spec: cost.NetworkCost, found: NetworkUse) -> float:
    return float(cost.evaluate(spec, found).detach())


def test_the_published_figures_of_diana() -> None:
    assert price(DIANA.latency, use({8: 32.0})) == 2688
    assert price(DIANA.latency, use({2: 32.0})) == pytest.approx(1443.2)
    assert price(DIANA.latency, use({2: 0.0, 8: 32.0})) == 2688
    # 16 channels each: one block of the digital array, 16 * 8 * 9 + 64 * 32 / 8; the analog array makes 4 positions
    # at once (8 would need 10 x 64 x 3 of its 1152 inputs).
    shares = {unit.name: float(cycles) for unit, cycles in next(DIANA.shares(use({2: 16.0, 8: 16.0})))}
    assert shares["digital"] == 16 * 8 * 9 + 64 * 32 / 8
    assert shares["analog"] == pytest.approx(8 * 16 * 9 + 64 / 4 * 18.2)
    assert price(DIANA.latency, use({2: 16.0, 8: 16.0})) == pytest.approx(max(shares.values()))


def test_layers_and_calls_add_up() -> None:
    one = use({2: 16.0, 8: 16.0})
    twice = NetworkUse(one.layers + one.layers + (LayerUse("pool", cost.Pool, {}),))
    assert price(DIANA.latency, twice) == pytest.approx(2 * price(DIANA.latency, one))


def test_only_those_that_can_run_a_layer_count() -> None:
    deep = nn.Conv2d(16, 16, 3, groups=16)
    found = use({8: 16.0}, deep)
    assert [unit.name for unit, _ in next(DIANA.shares(found))] == ["digital"]
    only = Platform("only", (dataclasses.replace(FAST, ops=frozenset({"linear"})),), 1e6)
    assert price(only.latency, found) == 0


def test_a_part_of_a_depthwise_layer_reads_its_own_channels() -> None:
    deep = nn.Conv2d(16, 16, 3, groups=16)
    seen: list[tuple[float, float]] = []

    def record(layer: Any) -> float:
        seen.append((float(layer.cin), float(layer.cout)))
        return float(layer.cout)

    units = tuple(dataclasses.replace(unit, cycles=record) for unit in TWO_CORES.accelerators)
    price(Platform("seen", units, 1e6).latency, use({4: 4.0, 8: 12.0}, deep))
    assert sorted(seen) == [(4, 4), (12, 12)]


def test_one_dimensional_and_linear_layers_are_convolutions_of_height_one() -> None:
    flat = nn.Conv1d(16, 32, 3)
    shapes = {"input_shape": (1, 16, 10), "output_shape": (1, 32, 8)}
    wide = {"input_shape": (1, 16, 1, 10), "output_shape": (1, 32, 1, 8)}
    for bits in (2, 8):
        got = price(DIANA.latency, use({bits: 32.0}, flat, **shapes))
        assert got == price(DIANA.latency, use({bits: 32.0}, nn.Conv2d(16, 32, (1, 3)), **wide))
    static = {**vars(nn.Linear(64, 10)), "bias": True, "input_shape": (1, 64), "output_shape": (1, 10)}
    spec = {**static, "w_precision": 8}
    layers = NetworkUse((LayerUse("fc", nn.Linear, spec, 1.0, 1, static),))
    assert price(DIANA.latency, layers) == price(cost.diana_latency, layers)  # type: ignore[arg-type]


def test_energy_is_that_of_work_and_of_waiting() -> None:
    products = 9 * 16 * 64
    fast, slow = 20 * products / 2, 12 * products + 50
    joules = (24e-3 * fast + 4e-3 * slow + 2e-3 * (slow - fast)) / 100e6
    assert price(TWO_CORES.energy, use({4: 12.0, 8: 20.0})) == pytest.approx(joules)
    with pytest.raises(UsageError, match="power"):
        _ = DIANA.energy


def test_an_accelerator_that_cannot_run_a_layer_waits_for_it() -> None:
    able = dataclasses.replace(SLOW, ops=frozenset({"conv"}))
    cycles = 16 * 9 * 64 / 2
    found = price(Platform("chip", (FAST, able), 1e6).energy, use({8: 16.0}, nn.Conv2d(16, 16, 3, groups=16)))
    assert found == pytest.approx((24e-3 + 1e-3) * cycles / 1e6)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_smooth_maximum_is_the_maximum_with_the_slope_of_the_published_one(scale: float) -> None:
    values = [torch.tensor(value * scale, requires_grad=True) for value in (3.0, 2.9, 0.5)]
    found = smooth_max(values)
    assert float(found.detach()) == pytest.approx(3.0 * scale)
    slopes = torch.stack(torch.autograd.grad(found, values))
    plain = torch.tensor([3.0, 2.9, 0.5], requires_grad=True)
    (expected,) = torch.autograd.grad((torch.softmax(plain * SHARPNESS / 3.0, 0) * plain).sum(), plain)
    assert torch.allclose(slopes, expected, atol=1e-5)
    assert float(slopes[0]) > float(slopes[1]) > 0
    assert float(smooth_max([torch.tensor(0.0), torch.tensor(0.0)])) == 0


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        ((), "without accelerators"),
        ((FAST, dataclasses.replace(SLOW, a_bits=4)), "different activations"),
        ((FAST, dataclasses.replace(SLOW, name="fast")), "of one name"),
        ((FAST, dataclasses.replace(SLOW, w_bits=8)), "tell accelerators apart"),
        ((Accelerator("a core", 8, fast_cycles),), "bad name"),
        ((Accelerator("k\u00e9rn", 8, fast_cycles),), "bad name"),
        ((Accelerator("core", 3, fast_cycles),), "unknown bit width"),
        ((Accelerator("core", 8, fast_cycles, frozenset({"fft"})),), "unknown op"),  # type: ignore[arg-type]
    ],
)
def test_platforms_that_make_no_sense_are_refused(units: tuple[Accelerator, ...], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Platform("chip", units, 1e6)
