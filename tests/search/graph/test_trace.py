# SPDX-License-Identifier: Apache-2.0
"""Tracing: what is a leaf, what is answered from shapes, what is refused and where."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.search.graph.shapes import shapes
from plinio_deploy.search.graph.trace import is_torch_layer, matches, place, trace
from plinio_deploy.search.methods.supernet.module import SuperNetModule


class SameConv(nn.Conv2d):
    """Keeps the layer's forward: still a convolution."""


class OtherConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return F.conv2d(input, self.weight * 2, self.bias)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = SameConv(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if c != 3 or len(x.shape) != 4 or x.dim() != 4:
            raise ValueError
        for _ in range(x.size(2) - 3):
            x = x + 1
        parts = [part.relu() for part in self.conv(x).chunk(2, dim=1)]
        assert int(x.shape[-1]) == w
        return F.dropout(torch.cat(parts, 1), 0.5, self.training) / float(h) + n * 0


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Block())

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        return x if x.max().item() > 0 else -x


def test_layers_and_what_keeps_their_meaning_are_leaves() -> None:
    assert is_torch_layer(SameConv(1, 1, 1))
    assert not is_torch_layer(OtherConv(1, 1, 1))
    assert not is_torch_layer(nn.Sequential())
    assert not is_torch_layer(Block())


def test_questions_about_shapes_are_answered() -> None:
    model = Block()
    traced = trace(model, [torch.rand(1, 3, 4, 4)])
    x = torch.rand(5, 3, 4, 4)
    model.eval()
    traced.eval()
    assert torch.equal(traced(x), model(x))
    assert traced.get_submodule("conv") is model.conv


def test_dropout_follows_the_mode() -> None:
    model = Block()
    traced = trace(model, [torch.rand(1, 3, 4, 4)])
    assert traced.training
    x = torch.rand(5, 3, 4, 4)
    assert not torch.equal(traced(x), traced(x))
    traced.eval()
    assert torch.equal(traced(x), traced(x))


def test_questions_about_values_are_refused_with_their_place() -> None:
    with pytest.raises(UnsupportedModel, match="depends on the data") as caught:
        trace(Deciding(), [torch.rand(1, 3, 4, 4)])
    assert "test_trace.py:" in str(caught.value.where)


def test_nodes_know_their_module_and_line() -> None:
    traced = trace(Deciding().inner, [torch.rand(1, 3, 4, 4)])
    cat = next(node for node in traced.graph.nodes if "cat" in node.name)
    assert place(cat).startswith("0 (test_trace.py:")


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_kept_module_by_module(training: bool) -> None:
    model = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3)), nn.Conv2d(3, 4, 1)).train(training)
    model.get_submodule("0.0").eval()
    traced = trace(model, [torch.rand(1, 3, 4, 4)])
    assert traced.training is training
    assert traced.get_submodule("1").training is training
    assert traced.get_submodule("0.0").training is False


def test_branches_are_traced_and_their_shapes_compared() -> None:
    good = nn.Sequential(SuperNetModule([nn.Conv2d(3, 3, 1), nn.Identity()]))
    traced = trace(good, [torch.rand(1, 3, 4, 4)])
    found = shapes(traced, [torch.rand(1, 3, 4, 4)])
    assert sum(node.op == "placeholder" for node in found) == 3
    bad = nn.Sequential(SuperNetModule([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3)]))
    traced = trace(bad, [torch.rand(1, 3, 4, 4)])
    with pytest.raises(UnsupportedModel, match="one shape") as caught:
        shapes(traced, [torch.rand(1, 3, 4, 4)])
    assert "branch 1: (1, 3, 2, 2)" in str(caught.value)


def test_marks() -> None:
    conv = nn.Conv2d(1, 1, 1)
    assert matches("a.b.c", conv, ("a.b",))
    assert not matches("a.bc", conv, ("a.b",))
    assert matches("x", conv, (nn.Conv2d,))
    assert not matches("x", conv, (nn.Linear, "y"))
