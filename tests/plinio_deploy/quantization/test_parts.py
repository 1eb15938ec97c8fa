# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import Tensor, nn

from plinio_deploy.quantization import QuantConfig
from plinio_deploy.quantization.capture import capture
from plinio_deploy.quantization.channels import tied_channels
from plinio_deploy.quantization.graph import Conv, Graph, Linear
from plinio_deploy.quantization.layers import QuantLayer
from plinio_deploy.quantization.layout import places
from plinio_deploy.quantization.parts import make_layers, make_quantizers
from plinio_deploy.quantization.quantizers import ActivationQuantizer, InputQuantizer
from plinio_deploy.quantization.simplify import simplify


class Model(nn.Module):
    """A layer that is called twice, and one whose name `nn.ModuleDict` has a method of."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(2, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.keys = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.twice(torch.relu(self.twice(x))))
        result: Tensor = self.keys(x.mean((2, 3)))
        return result


def graph(model: nn.Module) -> Graph:
    return simplify(capture(model.eval(), (torch.zeros(1, 2, 4, 4),)))


def test_calls_of_one_layer_share_its_weights() -> None:
    found = graph(Model())
    layers, layer_of, folded = make_layers(found, QuantConfig(), tied_channels(found, places(found)))
    assert set(layer_of) == {node.name for node in found.nodes if isinstance(node.operator, Conv | Linear)}
    assert sorted(layer_of.values()) == sorted([*layers, next(iter(layers))])
    assert all(isinstance(layer, QuantLayer) for layer in layers.values())
    assert folded == {}
    assert not any(hasattr(nn.ModuleDict, key) for key in layers)


def test_factors_of_folded_norms_are_kept() -> None:
    norm = nn.BatchNorm2d(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, -3.0]))
    found = graph(nn.Sequential(nn.Conv2d(2, 2, 1), norm))
    layers, _, folded = make_layers(found, QuantConfig(), tied_channels(found, places(found)))
    assert list(folded) == list(layers)
    torch.testing.assert_close(folded[next(iter(layers))], torch.tensor([2.0, -3.0]), atol=1e-4, rtol=0)


def test_inputs_have_fixed_quantizers_and_activations_learn_theirs() -> None:
    found = graph(Model())
    quantizers, quantizer_of = make_quantizers(found, QuantConfig(input_range=(0.0, 1.0)))
    kinds = [type(quantizers[quantizer_of[name]]) for name in (*found.inputs, *found.outputs)]
    assert kinds == [InputQuantizer, ActivationQuantizer]
    assert set(quantizer_of.values()) == set(quantizers)
