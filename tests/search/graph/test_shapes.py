# SPDX-License-Identifier: Apache-2.0
"""Shapes of every node, without touching the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plinio_deploy.search.graph.shapes import Plain, plain, shapes
from plinio_deploy.search.graph.trace import trace


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:
        left, right = self.norm(x).split(3, 1)
        result: Tensor = (left + right).reshape(x.size(0), -1) * scale
        return result


def test_tensors_tuples_and_numbers() -> None:
    model = Parts()
    x = torch.rand(2, 6, 4)
    traced = trace(model, [x])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = {node.name: shape for node, shape in shapes(traced, [x]).items()}
    assert found["x"] == (2, 6, 4)
    assert found["split"] == ((2, 3, 4), (2, 3, 4))
    assert isinstance(found["size"], Plain)
    assert plain(found["size"]) == 2
    assert plain(found["scale"]) == 2.0
    assert found["reshape"] == (2, 12)
    assert found["output"] == (2, 12)
    assert traced.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_plain_goes_through_nesting() -> None:
    assert plain((Plain(1), [Plain(2), Plain((3, 4))])) == (1, [2, (3, 4)])
