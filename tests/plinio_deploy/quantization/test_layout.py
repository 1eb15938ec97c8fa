# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization import capture
from plinio_deploy.quantization.layout import Place, arrange, places, standard_shape
from plinio_deploy.quantization.simplify import simplify
from tests.plinio_deploy.quantization.test_capture import Lambda


def placed(function: Any, shape: tuple[int, ...], **layers: nn.Module) -> dict[str, Place]:
    return places(simplify(capture(Lambda(function, **layers), torch.zeros(1, *shape))))


def last(found: dict[str, Place]) -> Place:
    return list(found.values())[-1]


def test_memory_is_channels_last() -> None:
    order = arrange((2, 3, 4), "CHW")
    values = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(values.ravel()[order].reshape(3, 4, 2), values.transpose(1, 2, 0))
    assert [standard_shape(s) for s in ((5,), (2, 7), (2, 3, 4))] == [(5,), (1, 7, 2), (3, 4, 2)]


def test_flatten_keeps_memory_and_linear_takes_it() -> None:
    found = placed(lambda s, x: s.linear(x.flatten(1)), (2, 3, 4), linear=nn.Linear(24, 5))
    assert np.array_equal(found["flatten"].order, arrange((2, 3, 4), "CHW"))
    assert found["linear"].input_shapes == ((24,),)
    assert np.array_equal(found["linear"].order, np.arange(5))


def test_concat_of_flattened_maps_shifts_their_orders() -> None:
    found = placed(
        lambda s, x: s.linear(torch.cat([x.flatten(1), x.mean((2, 3))], 1)), (2, 3, 4), linear=nn.Linear(26, 5)
    )
    assert np.array_equal(found["cat"].order, [*arrange((2, 3, 4), "CHW"), 24, 25])


def test_channels_last_and_back_moves_nothing() -> None:
    found = placed(lambda s, x: s.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), (2, 3, 4), linear=nn.Linear(2, 5))
    assert found["linear"].input_shapes == ((3, 4, 2),)
    assert np.array_equal(found["permute"].order, np.arange(24))
    assert found["permute_2"].shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("function", "axis", "shape"),
    [
        (lambda x: torch.cat([x, x], 1), 2, (3, 4, 4)),
        (lambda x: torch.cat([x, x], 2), 0, (6, 4, 2)),
        (lambda x: torch.cat([x, x], 3), 1, (3, 8, 2)),
        (lambda x: torch.cat([x.movedim(1, 3), x.movedim(1, 3)], 1).movedim(3, 1), 0, (6, 4, 2)),
    ],
)
def test_concat_axes(function: Any, axis: int, shape: tuple[int, ...]) -> None:
    found = placed(lambda s, x: function(x), (2, 3, 4))
    assert (found["cat"].axis, found["cat"].shape) == (axis, shape)


@pytest.mark.parametrize(
    ("function", "window", "shape"),
    [
        (lambda x: x.mean((2, 3)), (3, 4), (1, 1, 2)),
        (lambda x: x.mean(2), (3, 1), (1, 4, 2)),
        (lambda x: x.mean(-1, keepdim=True), (1, 4), (3, 1, 2)),
        (lambda x: x.flatten(2).mean(2), (1, 12), (1, 1, 2)),
        (lambda x: x.movedim(1, 3).mean((1, 2)), (3, 4), (1, 1, 2)),
    ],
)
def test_means_are_windows(function: Any, window: tuple[int, int], shape: tuple[int, ...]) -> None:
    found = placed(lambda s, x: function(x), (2, 3, 4))
    assert (found["mean"].window, found["mean"].shape) == (window, shape)


@pytest.mark.parametrize(
    "function",
    [
        lambda s, x: s.conv(x.transpose(1, 2)),
        lambda s, x: s.conv(x.reshape(x.shape[0], 3, 2, 4).reshape(x.shape[0], 3, 4, 2)),
        lambda s, x: x + x.transpose(2, 3),
        lambda s, x: x.mean(1),
        lambda s, x: s.linear(x),
        lambda s, x: torch.cat([x, x.transpose(2, 3)], 1),
    ],
)
def test_what_would_move_memory_is_refused(function: Any) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        placed(
            function,
            (3, 4, 4) if function.__code__.co_names != ("conv", "reshape", "shape") else (2, 3, 4),
            conv=nn.Conv2d(4 if "transpose" in function.__code__.co_names else 3, 2, 1),
            linear=nn.Linear(4, 2),
        )
    assert "moved in memory" in str(caught.value)
    assert caught.value.hints


def test_outputs_must_lie_as_the_host_expects() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        placed(lambda s, x: x.flatten(1).relu(), (2, 3, 4))
    assert "output" in str(caught.value)


def test_linear_on_sequences_with_features_last() -> None:
    found = placed(lambda s, x: s.linear(x.transpose(1, 2)).transpose(1, 2), (4, 7), linear=nn.Linear(4, 2))
    assert found["linear"].input_shapes == ((1, 7, 4),)
    assert last(found).shape == (1, 7, 2)


def test_unit_dimensions_lie_anywhere() -> None:
    found = placed(lambda s, x: s.linear(x.flatten(1).unsqueeze(1)).flatten(1), (5, 1, 1), linear=nn.Linear(5, 2))
    assert last(found).shape == (1, 1, 2)


def test_four_dimensional_inputs_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="integer form"):
        placed(lambda s, x: x.relu(), (2, 2, 2, 2))
