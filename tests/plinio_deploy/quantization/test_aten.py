# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization import capture
from plinio_deploy.quantization.graph import Clamp, Concat, Mean, Permute
from tests.plinio_deploy.quantization.test_capture import Lambda, kinds, same_as_float

IMAGE = torch.zeros(1, 4, 6, 6)

REFUSED: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "gelu": (functional.gelu, "gelu"),
    "mul": (lambda x: x * 2, "mul"),
    "sub": (lambda x: x - x, "sub"),
    "add-constant": (lambda x: x + 0.5, "add of a tensor and a constant"),
    "add-broadcast": (lambda x: x + x.mean((2, 3), keepdim=True), "add of shapes"),
    "add-alpha": (lambda x: torch.add(x, x, alpha=2), "alpha=2"),
    "cat-batch": (lambda x: torch.cat([x, x], 0), "along the batch"),
    "mean-batch": (lambda x: x.mean(0, keepdim=True), "mean over the batch"),
    "pad-value": (lambda x: functional.pad(x, (1, 1, 1, 1), value=1.0), "value=1.0"),
    "pad-mode": (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), "mode='reflect'"),
    "pad-channels": (lambda x: functional.pad(x, (0, 0, 0, 0, 1, 1)), "pad by"),
    "pad-crop": (lambda x: functional.pad(x, (-1, 0, 0, 0)), "pad by"),
    "pool-count": (lambda x: functional.avg_pool2d(x, 2, padding=1, count_include_pad=False), "count_include_pad"),
    "pool-ceil": (lambda x: functional.avg_pool2d(x, 4, ceil_mode=True), "ceil_mode"),
    "pool-adaptive": (lambda x: functional.adaptive_avg_pool2d(x, 4), "(6, 6) to (4, 4)"),
    "pool-indices": (lambda x: functional.max_pool2d(x, 2, return_indices=True), "indices"),
    "permute-batch": (lambda x: x.permute(1, 0, 2, 3), "moves the batch"),
    "softmax-inside": (lambda x: functional.softmax(x, 1) + x, "softmax"),
    "argmax-all": (lambda x: x.argmax(), "argmax over the whole batch"),
    "dropout-on": (lambda x: functional.dropout(x, 0.5, training=True), "dropout"),
    "slice": (lambda x: x[:, :2], "slice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_with_place_and_hint(name: str) -> None:
    function, got = REFUSED[name]
    with pytest.raises(UnsupportedModel) as caught:
        capture(Lambda(lambda self, x: function(x)), IMAGE)
    text = str(caught.value)
    assert got in text
    assert re.search(r"test_(aten|capture)\.py:\d+", text), "the line of the user's code"
    assert caught.value.expected


def test_convolutions_that_pad_otherwise_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="integer form") as caught:
        capture(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), IMAGE)
    assert "circular" in str(caught.value)


def test_batch_norm_needs_running_statistics() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        capture(nn.BatchNorm2d(4, track_running_stats=False), IMAGE)
    assert "running statistics" in str(caught.value)


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [
        (functional.relu6, 0.0, 6.0),
        (lambda x: functional.hardtanh(x, -2.0, 3.0), -2.0, 3.0),
        (lambda x: x.clamp(max=1.5), float("-inf"), 1.5),
        (lambda x: torch.clamp(x, -1, 1), -1.0, 1.0),
        (lambda x: x.clamp_min(0.0), 0.0, float("inf")),
    ],
)
def test_activations_are_clamps(function: Callable[[Tensor], Tensor], low: float, high: float) -> None:
    graph = capture(Lambda(lambda self, x: function(x)), IMAGE)
    assert graph.nodes[-1].operator == Clamp(low, high)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x.transpose(1, 2).transpose(2, 3),
        lambda x: x.movedim(1, -1),
        lambda x: x.swapaxes(1, 3).swapaxes(1, 2),
    ],
)
def test_permutations_under_all_their_names(function: Callable[[Tensor], Tensor]) -> None:
    graph = capture(Lambda(lambda self, x: function(x)), torch.zeros(1, 2, 3, 4))
    dims = list(range(4))
    for node in graph.nodes[1:]:
        assert isinstance(node.operator, Permute)
        dims = [dims[dim] for dim in node.operator.dims]
    assert dims == [0, 2, 3, 1]


def test_a_permutation_that_changes_nothing_is_no_node() -> None:
    assert kinds(capture(Lambda(lambda self, x: x.permute(0, 1, 2, 3).relu()), IMAGE)) == ["Input", "Clamp"]


def test_negative_dimensions_are_counted_from_the_end() -> None:
    graph = capture(Lambda(lambda self, x: torch.cat([x, x], -3).mean((-1, -2))), IMAGE)
    assert [node.operator for node in graph.nodes[1:]] == [Concat(1), Mean((2, 3), keepdim=False)]


def test_batch_norm_is_scale_and_shift() -> None:
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        norm.weight.uniform_(-1, 1)
    same_as_float(norm, torch.randn(3, 4, 6, 6))
