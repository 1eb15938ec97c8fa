# SPDX-License-Identifier: Apache-2.0
"""MPS's yardstick behaviours (reference inventory, section 6, items 21 to 25), with their numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost import ops_bit, params_bit
from plinio_deploy.search.methods.mps import MPS, MPSType, get_default_qinfo
from tests.search.methods.mps.toys import layer, put, search
from tests.search.methods.pit.toys import DSCNN, SimpleNN, ToyAdd


def test_item_21_costs_of_toy_add() -> None:
    qinfo = get_default_qinfo(input_precision=(2, 4, 8))  # PLiNIO searches the input too; ours has 8 bits by default
    mps = search(ToyAdd(2), cost={"params_bit": params_bit, "ops_bit": ops_bit}, qinfo=qinfo)
    assert mps.get_cost("params_bit").item() == pytest.approx(41022.43, rel=1e-6)
    assert mps.get_cost("ops_bit").item() == pytest.approx(11_023_274, rel=1e-6)
    theta = layer(mps, "conv0").choice.theta()
    assert float(theta.detach() @ torch.tensor([2.0, 4.0, 8.0])) == pytest.approx(5.4697, abs=5e-5)


@pytest.mark.parametrize(("model", "count"), [(SimpleNN, 4), (DSCNN, 15)])
def test_item_22_places_that_are_searched(model: type[Any], count: int) -> None:
    """Layers, additions and inputs, as PLiNIO counts; ours also knows the poolings, which it leaves unquantized."""
    torch.manual_seed(0)
    found = search(model()).summary()
    assert sum("w_precision" in entry or "in_precision" not in entry for entry in found.values()) == count


def test_item_22_the_addition_has_a_place() -> None:
    found = search(ToyAdd(2)).summary()
    assert {"conv0", "conv1", "add", "conv2", "fc"} <= set(found)


class Wide(nn.Module):
    """A convolution to 10 channels and a linear layer over 10 x 10 x 10 features."""

    input_shape = (3, 10, 10)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3, padding=1)
        self.fc = nn.Linear(1000, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.fc(torch.relu(self.conv(x)).flatten(1))
        return result


def features(mps: MPS) -> tuple[float, float]:
    """Living output channels of the convolution, and input features of the linear layer."""
    mps.eval()
    uses = mps.network_use(steps=False).layers
    alive = sum(float(use.spec["out_channels"].detach()) for use in uses if use.name == "conv")
    return alive, next(float(use.spec["in_features"].detach()) for use in uses if use.name == "fc")


def test_item_23_pruned_channels() -> None:
    mps = search(Wide(), per_channel=True, qinfo=get_default_qinfo((0, 2, 8), (8,)))
    alpha = torch.zeros(3, 10)
    alpha[2] = 1.0
    alpha[0, :3] = 2.0
    put(layer(mps, "conv").choice, alpha)
    assert features(mps) == (7, 700)
    alpha[0, 1:3] = -1.0
    put(layer(mps, "conv").choice, alpha)
    assert features(mps) == (9, 900)
    put(layer(mps, "fc").choice, torch.tensor([9.0, 0.0, 0.0]).unsqueeze(1).expand(3, 5))
    assert mps.summary()["fc"]["w_precision"] == 2  # outputs of the network are never pruned


def test_item_23_some_channel_always_lives() -> None:
    mps = search(Wide(), per_channel=True, qinfo=get_default_qinfo((0, 8), (8,)))
    alpha = torch.tensor([[5.0], [0.0]]).repeat(1, 10)
    alpha[0, 4] = 4.0
    put(layer(mps, "conv").choice, alpha)
    assert features(mps) == (1, 100)
    assert mps.summary()["conv"]["w_precision"] == (0, 0, 0, 0, 8, 0, 0, 0, 0, 0)


def test_item_24_the_largest_alpha_is_exported() -> None:
    mps = search(Wide())
    put(layer(mps, "conv").choice, [1.5, 0.2, 1.0])
    quantizer: Any = mps.network.quantizer("conv")
    put(quantizer.choice, [0.3, 1.8, 0.99])
    exported = mps.export()
    config = exported.config.layers["conv"]
    assert (config.w_bits, config.a_bits) == ((2,) * 10, 4)
    clips = torch.exp(quantizer.log_clip.detach())
    assert len(set(clips.tolist())) == 3
    found: Any = exported.quantizer("conv")
    assert torch.equal(found.clip.detach(), clips[1])
    with pytest.raises(UsageError, match="search_precision"):
        search(Wide(), qinfo=get_default_qinfo((2, 2, 8)))


@pytest.mark.parametrize("kind", list(MPSType))
@pytest.mark.parametrize("model", [SimpleNN, DSCNN])
def test_item_25_eval_is_the_export(model: type[Any], kind: MPSType) -> None:
    torch.manual_seed(1)
    mps = search(model(), per_channel=kind is MPSType.PER_CHANNEL).eval()
    x = torch.rand(4, *model.input_shape)
    with torch.no_grad():
        assert torch.equal(mps(x), mps.export()(x))
