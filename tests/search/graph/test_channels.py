# SPDX-License-Identifier: Apache-2.0
"""Channel analysis on networks small enough to know the answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plinio_deploy.search.graph.channels import Channels, Rules
from plinio_deploy.search.graph.shapes import shapes
from plinio_deploy.search.graph.trace import trace


def analyse(model: nn.Module, *shape: int, rules: Rules | None = None) -> Channels:
    x = torch.rand(1, *shape)
    traced = trace(model, [x])
    return Channels(traced, shapes(traced, [x]), rules or Rules())


def ids(channels: Channels, path: str) -> tuple[list[int] | None, list[int]]:
    layer = next(layer for layer in channels.layers.values() if layer.path == path)
    return None if layer.ins is None else layer.ins.tolist(), layer.outs.tolist()


def test_a_chain() -> None:
    channels = analyse(nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2)), 2, 2)
    assert ids(channels, "0") == (None, [1, 2, 3])
    assert ids(channels, "3") == ([1, 1, 2, 2, 3, 3], [0, 0])


def test_depthwise_and_groups() -> None:
    model = nn.Sequential(
        nn.Conv1d(2, 4, 1), nn.Conv1d(4, 8, 1, groups=4), nn.Conv1d(8, 4, 1, groups=2), nn.Conv1d(4, 1, 1)
    )
    channels = analyse(model, 2, 3)
    first, second, third = ids(channels, "0"), ids(channels, "1"), ids(channels, "2")
    assert second == (first[1], [item for item in first[1] for _ in range(2)])
    assert first[1] == [1, 2, 1, 2]  # the groups of two of the third layer tie them
    assert third[1][:2] == third[1][2:]


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv1d(2, 3, 1), nn.Conv1d(2, 6, 1), nn.Conv1d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        result: Tensor = self.c(torch.cat([y, y.sigmoid()], 1) + self.b(x))
        return result


def test_an_add_after_a_concat_ties_elementwise() -> None:
    channels = analyse(Sum(), 2, 4)
    assert ids(channels, "a")[1] == [1, 2, 3]
    assert ids(channels, "b")[1] == [1, 2, 3, 1, 2, 3]
    assert ids(channels, "c")[0] == [1, 2, 3, 1, 2, 3]


def test_exclusion_and_granularity() -> None:
    model = nn.Sequential(nn.Conv1d(2, 7, 1), nn.Conv1d(7, 5, 1), nn.Conv1d(5, 1, 1))
    channels = analyse(model, 2, 4, rules=Rules(exclude=("1",), granularity=3))
    assert ids(channels, "0")[1] == [1, 2, 2, 2, 3, 3, 3]
    assert ids(channels, "1")[1] == [0] * 5
    assert ids(channels, "2")[0] is None


def test_tied_weights_are_one_layer() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 1), nn.Conv1d(4, 4, 1, bias=False), nn.Conv1d(4, 4, 1, bias=False))
    model.get_submodule("2").register_parameter("weight", model.get_submodule("1").get_parameter("weight"))
    channels = analyse(nn.Sequential(model, nn.Conv1d(4, 1, 1)), 4, 3)
    layer = next(layer for layer in channels.layers.values() if layer.path == "0.1")
    assert set(layer.modules) == {"0.1", "0.2"}
    assert ids(channels, "0.0")[1] == ids(channels, "0.1")[1]


def test_every_tensor_keeps_something() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv1d(2, 6, 1), nn.Conv1d(3, 1, 1), nn.Conv1d(3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            left, right = self.a(x).chunk(2, 1)
            result: Tensor = self.b(left) * self.c(right)
            return result

    channels = analyse(Halves(), 2, 4)
    assert {3, 6} <= channels.kept()
    assert not {1, 2, 4, 5} & channels.kept()
