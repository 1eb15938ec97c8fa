# SPDX-License-Identifier: Apache-2.0
"""What single layers do to identifiers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.search.graph.channels import Channels, Rules
from plinio_deploy.search.graph.shapes import shapes
from plinio_deploy.search.graph.trace import trace


def analyse(*layers: nn.Module, rules: Rules | None = None) -> Channels:
    """conv of 6 channels, the layers, and a last layer of two outputs that the network's output freezes."""
    x = torch.rand(1, 2, 4, 4)
    model = nn.Sequential(nn.Conv2d(2, 6, 1), *layers).eval()
    traced = trace(model, [x])
    return Channels(traced, shapes(traced, [x]), rules or Rules())


def into(channels: Channels, path: str) -> list[int] | None:
    layer = next(layer for layer in channels.layers.values() if layer.path == path)
    return None if layer.ins is None else layer.ins.tolist()


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm2d(6), nn.InstanceNorm2d(6), nn.PReLU(6), nn.PReLU(), nn.GELU(), nn.Dropout2d(), nn.MaxPool2d(2),
     nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.GroupNorm(6, 6), nn.GroupNorm(1, 6), nn.AdaptiveAvgPool2d(1)],
)  # fmt: skip
def test_layers_that_keep_channels_apart(layer: nn.Module) -> None:
    channels = analyse(layer, nn.Conv2d(6, 2, 1))
    assert into(channels, "2") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(6), nn.PReLU(6), nn.GroupNorm(2, 6)])
def test_numbers_per_channel_are_carried(layer: nn.Module) -> None:
    channels = analyse(layer, nn.Conv2d(6, 2, 1))
    carrier = next(iter(channels.carriers.values()))
    assert carrier.path == "1"
    assert carrier.ids is not None
    tied = [1, 2, 3, 1, 2, 3] if isinstance(layer, nn.GroupNorm) else [1, 2, 3, 4, 5, 6]
    assert carrier.ids.tolist() == tied


def test_a_linear_layer_on_another_axis_lets_channels_pass() -> None:
    channels = analyse(nn.Linear(4, 9), nn.Conv2d(6, 2, 1))
    assert into(channels, "1") is None
    assert into(channels, "2") == [1, 2, 3, 4, 5, 6]


def test_unknown_layers_are_refused_or_freeze() -> None:
    with pytest.raises(UnsupportedModel, match="LocalResponseNorm"):
        analyse(nn.LocalResponseNorm(3), nn.Conv2d(6, 2, 1))
    channels = analyse(nn.LocalResponseNorm(3), nn.Conv2d(6, 2, 1), rules=Rules(on_unsupported="freeze"))
    assert into(channels, "2") is None
    assert channels.notes


def test_computed_weights_are_refused() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 4, 1))
    with pytest.raises(UnsupportedModel, match="whose weight is computed"):
        analyse(layer, nn.Conv2d(4, 2, 1))
