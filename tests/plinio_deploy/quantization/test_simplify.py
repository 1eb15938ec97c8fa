# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization import capture
from plinio_deploy.quantization.graph import BatchNorm, Clamp, Conv, Graph
from plinio_deploy.quantization.simplify import check_finite, fold_batch_norms, simplify
from tests.plinio_deploy.quantization.test_capture import Lambda, kinds, same_as_float


def random_norm(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, low, high in (("running_mean", -1, 1), ("running_var", 0.3, 2), ("weight", -1, 1), ("bias", -1, 1)):
            getattr(norm, name).uniform_(low, high)
    return norm


def simplified(model: nn.Module, shape: tuple[int, ...]) -> Graph:
    return simplify(capture(model, torch.zeros(1, *shape)))


@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_joins_its_convolution(bias: bool) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=bias), random_norm(nn.BatchNorm2d(3)))
    graph = simplified(model, (2, 5, 5))
    assert kinds(graph) == ["Input", "Conv"]
    assert len(graph.parameters) == 1
    same_as_float(model, torch.randn(3, 2, 5, 5))


def test_batch_norm_joins_its_linear() -> None:
    model = nn.Sequential(nn.Linear(4, 3), random_norm(nn.BatchNorm1d(3)))
    assert kinds(simplified(model, (4,))) == ["Input", "Linear"]
    same_as_float(model, torch.randn(3, 4))


def test_batch_norm_of_a_value_that_others_read_is_a_depthwise_convolution() -> None:
    model = Lambda(
        lambda s, x: s.norm(s.conv(x)) + s.conv(x), conv=nn.Conv2d(1, 3, 1), norm=random_norm(nn.BatchNorm2d(3))
    )
    assert kinds(simplified(model, (1, 4, 4))) == [
        "Input",
        "Conv",
        "Conv",
        "Add",
    ]  # conv is called twice, the first is folded

    def forward(self: Any, x: Tensor) -> Any:
        y = self.conv(x)
        return self.norm(y) + y

    model = Lambda(forward, conv=nn.Conv2d(1, 3, 1), norm=random_norm(nn.BatchNorm2d(3)))
    graph = simplified(model, (1, 4, 4))
    assert kinds(graph) == ["Input", "Conv", "Conv", "Add"]
    operator = graph.by_name()["norm"].operator
    assert isinstance(operator, Conv)
    assert operator.groups == 3
    same_as_float(model, torch.randn(3, 1, 4, 4))


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.BatchNorm2d(3), (3, 4, 4)), (nn.BatchNorm1d(3), (3, 7)), (nn.BatchNorm1d(3), (3,))],
)
def test_batch_norm_on_its_own(norm: nn.Module, shape: tuple[int, ...]) -> None:
    random_norm(norm)
    assert not any(isinstance(node.operator, BatchNorm) for node in simplified(norm, shape).nodes)
    same_as_float(norm, torch.randn(5, *shape))


def test_batch_norm_after_an_output_is_not_folded_into_it() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        y = self.conv(x)
        return y, self.norm(y)

    model = Lambda(forward, conv=nn.Conv2d(1, 2, 1), norm=random_norm(nn.BatchNorm2d(2)))
    graph = simplified(model, (1, 4, 4))
    assert graph.outputs == ("conv", "norm")


def test_layers_that_share_weights_and_norms_stay_shared() -> None:
    model = Lambda(lambda s, x: s.norm(s.conv(s.norm(s.conv(x)))), conv=nn.Conv2d(2, 2, 1), norm=nn.BatchNorm2d(2))
    assert len(fold_batch_norms(capture(model, torch.zeros(1, 2, 3, 3))).parameters) == 1


def test_relu_joins_its_producer_across_moves() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.ReLU(), nn.Linear(8, 2))
    graph = simplified(model, (1, 6, 6))
    assert kinds(graph) == ["Input", "Conv", "MaxPool", "Reshape", "Linear"]
    assert graph.nodes[1].clamp == Clamp(0, math.inf)
    same_as_float(model, torch.randn(3, 1, 6, 6))


def test_relu_of_a_concat_joins_all_its_producers() -> None:
    model = Lambda(lambda s, x: torch.relu(torch.cat([s.a(x), s.b(x)], 1)), a=nn.Conv2d(1, 2, 1), b=nn.Conv2d(1, 2, 1))
    graph = simplified(model, (1, 3, 3))
    assert [node.clamp for node in graph.nodes] == [None, Clamp(0, math.inf), Clamp(0, math.inf), None]
    same_as_float(model, torch.randn(3, 1, 3, 3))


def test_chained_activations_become_one() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Hardtanh(-1, 4), nn.ReLU6())
    assert simplified(model, (1, 3, 3)).nodes[1].clamp == Clamp(0, 4)


def test_relu_of_a_value_that_others_read_stays() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        y = self.conv(x)
        return torch.relu(y) + y

    model = Lambda(forward, conv=nn.Conv2d(1, 2, 1))
    assert kinds(simplified(model, (1, 3, 3))) == ["Input", "Conv", "Clamp", "Add"]
    same_as_float(model, torch.randn(3, 1, 3, 3))


def test_a_clamp_that_excludes_zero_does_not_pass_padding() -> None:
    model = Lambda(lambda s, x: nn.functional.pad(s.conv(x), (1, 1)).clamp(min=0.5), conv=nn.Conv2d(1, 2, 1))
    assert kinds(simplified(model, (1, 3, 3))) == ["Input", "Conv", "Pad", "Clamp"]
    same_as_float(model, torch.randn(3, 1, 3, 3))


def test_a_clamped_output_renames_the_output() -> None:
    graph = simplified(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (3,))
    assert graph.outputs == ("layer_0",)


def test_weights_must_be_finite() -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[0, 0] = math.nan
    with pytest.raises(UnsupportedModel, match="integer form") as caught:
        check_finite(capture(layer, torch.zeros(1, 3)))
    assert "not finite" in str(caught.value)


def test_padding_joins_the_convolution_after_it() -> None:
    model = nn.Sequential(nn.ZeroPad2d((1, 0, 2, 0)), nn.ZeroPad2d(1), nn.Conv2d(1, 2, 3, padding=(0, 1)))
    graph = simplified(model, (1, 4, 4))
    assert kinds(graph) == ["Input", "Conv"]
    operator = graph.nodes[1].operator
    assert isinstance(operator, Conv)
    assert operator.padding == (3, 1, 3, 2)
    same_as_float(model, torch.randn(3, 1, 4, 4))


def test_padding_joins_average_but_not_max_pooling() -> None:
    average = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 0)), nn.AvgPool2d(2))
    assert kinds(simplified(average, (1, 4, 3))) == ["Input", "AvgPool"]
    same_as_float(average, torch.randn(3, 1, 4, 3))
    assert kinds(simplified(nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)), (1, 4, 4))) == ["Input", "Pad", "MaxPool"]


def test_padding_that_others_read_stays_for_them() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        y = nn.functional.pad(x, (1, 1, 1, 1))
        return self.conv(y) + self.pool(y)

    model = Lambda(forward, conv=nn.Conv2d(1, 1, 2, stride=2), pool=nn.MaxPool2d(2))
    assert kinds(simplified(model, (1, 4, 4))) == ["Input", "Pad", "Conv", "MaxPool", "Add"]
    same_as_float(model, torch.randn(3, 1, 4, 4))
