# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import torch
from torch import nn

from plinio_deploy.quantization import capture
from plinio_deploy.quantization.graph import Add, Clamp, Node, Where, compose

NOWHERE = Where("", "")


def test_one_clamp_after_another() -> None:
    assert compose(None, Clamp(0, 6)) == Clamp(0, 6)
    assert compose(Clamp(-1, 1), Clamp(0, math.inf)) == Clamp(0, 1)
    assert compose(Clamp(2, 9), Clamp(0, 1)) == Clamp(1, 1)


def test_saturation_is_the_fused_clamp_or_the_nodes_own() -> None:
    node = Node("a", Add(), (), (1,), "a", NOWHERE)
    assert node.saturation == Clamp(-math.inf, math.inf)
    assert Node("a", Add(), (), (1,), "a", NOWHERE, Clamp(0, 6)).saturation == Clamp(0, 6)
    assert Node("a", Clamp(0, math.inf), (), (1,), "a", NOWHERE, Clamp(-1, 6)).saturation == Clamp(0, 6)


def test_readers_are_listed_once_per_use() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x

    graph = capture(Twice(), torch.zeros(1, 3))
    assert graph.readers() == {"input": ["add", "add"], "add": []}
    assert list(graph.by_name()) == ["input", "add"]


def test_places_read_well() -> None:
    assert str(Where("a.b", "f.py:3")) == "a.b (f.py:3)"
    assert str(Where("", "f.py:3")) == "the model itself (f.py:3)"
    assert str(Where("a", "")) == "a"
