# SPDX-License-Identifier: Apache-2.0
"""What a search is told its network costs is what the exported network costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy import PIT, SuperNet, SuperNetModule, cost
from plinio_deploy.recipes.models import DSCNN, TCN, ResNet8

COSTS = {
    "params": cost.params,
    "params_bit": cost.params_bit,
    "ops": cost.ops,
    "ops_all": cost.ops_all,
    "ops_bit": cost.ops_bit,
    "mpic": cost.mpic_latency,
    "gap8": cost.gap8_latency,
    "diana": cost.diana_latency,
    "ne16": cost.ne16_latency,
    "flash": cost.flash,
    "peak_ram": cost.peak_ram,
    "arena": cost.arena,
}

MODELS = [(ResNet8(), (3, 16, 16)), (DSCNN(), (1, 49, 10)), (TCN(), (1, 64))]


def costs(model: nn.Module, shape: tuple[int, ...]) -> dict[str, float]:
    """Of a plain model."""
    found = PIT(model, cost=COSTS, input_shape=shape, full_cost=True, autoconvert_layers=False)
    return {name: found.get_cost(name).item() for name in COSTS}


def set_at_random(nas: Any, seed: int) -> None:
    """Masks and selections that prune about half of everything."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in nas.nas_parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("model", "shape"), MODELS, ids=["ic", "kws", "tcn"])
def test_discrete_costs_of_pit_are_those_of_its_export(model: nn.Module, shape: tuple[int, ...], seed: int) -> None:
    nas = PIT(model, cost=COSTS, input_shape=shape, full_cost=True, discrete_cost=True)
    set_at_random(nas, seed)
    nas.eval()
    exported = costs(nas.export(), shape)
    # The export of a shorter receptive field crops behind the pad of the seed, in a step of its own.
    compared = set(COSTS) - ({"peak_ram", "arena"} if isinstance(model, TCN) else set())
    for name in compared:
        assert nas.get_cost(name).item() == pytest.approx(exported[name], rel=1e-5), name
    assert exported["params"] < 0.8 * costs(model, shape)["params"]


@pytest.mark.parametrize("seed", range(4))
def test_hard_costs_of_a_supernet_are_those_of_its_export(seed: int) -> None:
    model = ResNet8()
    for block in (model.block1, model.block2, model.block3):
        own = block.conv2
        branches: list[nn.Module] = [own, nn.Conv2d(own.in_channels, own.out_channels, 1), nn.Identity()]
        block.conv2 = SuperNetModule(branches)  # type: ignore[assignment]
    nas = SuperNet(model, cost=COSTS, input_shape=(3, 16, 16), full_cost=True)
    set_at_random(nas, seed)
    nas.update_softmax_options(hard=True)
    nas.eval()
    exported = costs(nas.export(), (3, 16, 16))
    assert {name: nas.get_cost(name).item() for name in COSTS} == pytest.approx(exported, rel=1e-5)


@pytest.mark.parametrize("name", ["peak_ram", "flash", "ne16", "ops"])
def test_descending_a_cost_alone_shrinks_the_exported_network(name: str) -> None:
    nas = PIT(ResNet8(), cost=COSTS, input_shape=(3, 16, 16), full_cost=True)
    optimizer = torch.optim.Adam(nas.nas_parameters(), lr=0.02)
    before = nas.get_cost(name).item()
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(nas.get_cost(name) / before)
        optimizer.step()
    assert costs(nas.export(), (3, 16, 16))[name] < 0.5 * before
