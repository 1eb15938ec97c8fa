# SPDX-License-Identifier: Apache-2.0
"""Channels of 0 bits vanish, those of one width lie together, and no code lands where it does not belong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plinio_deploy.integerize import Lowered, lower
from plinio_deploy.integerize.channels import group_columns, joined, left_over, planes, spread
from plinio_deploy.integerize.compare import compaction_differences, layer_differences
from plinio_deploy.network import Conv, Linear, Op
from plinio_deploy.quantization import LayerConfig, QuantConfig, quantize
from tests.plinio_deploy.quantization.test_capture import Lambda

Bits = tuple[int, ...]


def lowered(function: Any, shape: tuple[int, ...], bits: dict[str, Bits], **layers: nn.Module) -> Lowered:
    """The lowered network of a function, checked against the one with all channels in their own order."""
    torch.manual_seed(0)
    config = QuantConfig(layers={name: LayerConfig(w_bits=own) for name, own in bits.items()})
    x = torch.rand(9, *shape)
    qnet = quantize(Lambda(function, **layers), x, config).calibrate([x])
    made = lower(qnet)
    assert not any(compaction_differences(qnet, made, x).values())
    assert max(layer_differences(qnet, made, x).values()) <= 1
    return made


def weights_of(made: Lowered, name: str) -> tuple[Bits, tuple[int, ...]]:
    """Widths, and shape of the codes."""
    op: Op = next(op for op in made.network.ops if op.name == name)
    assert isinstance(op, Conv | Linear)
    return op.weights.bits, op.weights.codes.shape


def channels_of(made: Lowered, name: str, full: int) -> list[int]:
    """Which of the model's channels a tensor holds."""
    return [int(item) for item in made.elements[name][: made.network.tensors[name].channels] % full]


def test_a_chain_is_put_in_order_and_pruned() -> None:
    made = lowered(
        lambda s, x: s.b(s.a(x).relu()),
        (2, 4, 4),
        {"a": (2, 8, 0, 4, 8), "b": (4, 2, 8)},
        a=nn.Conv2d(2, 5, 3),
        b=nn.Conv2d(5, 3, 1),
    )
    assert weights_of(made, "a") == ((8, 8, 4, 2), (4, 3, 3, 2))
    assert channels_of(made, "a", 5) == [1, 4, 3, 0]
    assert weights_of(made, "b") == ((4, 2, 8), (3, 1, 1, 4)), "outputs of the network keep their order"
    assert made.network.tensors["b"].shape == (2, 2, 3)


def test_a_residual_is_ordered_by_its_largest_layer() -> None:
    made = lowered(
        lambda s, x: s.c((y := s.a(x).relu()) + s.b(y)),
        (1, 4, 4),
        {"a": (8, 2, 0, 4), "b": (2, 8, 0, 4), "c": (8,)},
        a=nn.Conv2d(1, 4, 1),
        b=nn.Conv2d(4, 4, 3, padding=1),
        c=nn.Conv2d(4, 1, 1),
    )
    assert weights_of(made, "b") == ((8, 4, 2), (3, 3, 3, 3))
    assert channels_of(made, "a", 4) == channels_of(made, "b", 4) == channels_of(made, "add", 4) == [1, 3, 0]
    assert weights_of(made, "a")[0] == (2, 4, 8), "one order serves all that meet in the add"


def test_a_depthwise_layer_goes_with_its_producer() -> None:
    made = lowered(
        lambda s, x: s.c(s.b(s.a(x).relu()).relu()),
        (1, 4, 4),
        {"a": (2, 4, 0, 8), "b": (8, 8, 0, 2), "c": (8, 8)},
        a=nn.Conv2d(1, 4, 3),
        b=nn.Conv2d(4, 4, 3, padding=1, groups=4),
        c=nn.Conv2d(4, 2, 1),
    )
    op = next(op for op in made.network.ops if op.name == "b")
    assert isinstance(op, Conv)
    assert op.groups == 3
    assert op.is_depthwise
    assert channels_of(made, "b", 4) == channels_of(made, "a", 4)


def test_columns_behind_a_flatten_go_with_the_map() -> None:
    made = lowered(
        lambda s, x: s.b(s.a(x).relu().flatten(1)),
        (1, 3, 3),
        {"a": (2, 0, 8), "b": (8, 8)},
        a=nn.Conv2d(1, 3, 1),
        b=nn.Linear(27, 2),
    )
    assert weights_of(made, "b")[1] == (2, 18)
    assert made.network.tensors["a_flat"].shape == (18,)


def test_concats_take_their_inputs_orders() -> None:
    made = lowered(
        lambda s, x: s.c(torch.cat([s.a(x), s.b(x)], 1)),
        (1, 3, 3),
        {"a": (2, 8, 0), "b": (0, 4, 8), "c": (8,)},
        a=nn.Conv2d(1, 3, 1),
        b=nn.Conv2d(1, 3, 1),
        c=nn.Conv2d(6, 1, 1),
    )
    assert channels_of(made, "cat", 6) == [1, 0, 5, 4]


def test_what_an_add_of_a_concat_holds_fast_is_only_pruned() -> None:
    made = lowered(
        lambda s, x: s.d(torch.cat([s.a(x), s.b(x)], 1) + s.c(x)),
        (1, 3, 3),
        {"a": (2, 8), "b": (4, 0, 8), "c": (2, 8, 4, 0, 8), "d": (8,)},
        a=nn.Conv2d(1, 2, 1),
        b=nn.Conv2d(1, 3, 1),
        c=nn.Conv2d(1, 5, 1),
        d=nn.Conv2d(5, 1, 1),
    )
    assert channels_of(made, "c", 5) == channels_of(made, "cat", 5) == [0, 1, 2, 4]


def test_groups_lose_the_same_places() -> None:
    made = lowered(
        lambda s, x: s.c(s.b(s.a(x).relu()).relu()),
        (1, 4, 4),
        {"a": (8, 0, 4, 2, 0, 8), "b": (2, 0, 8, 0), "c": (8,)},
        a=nn.Conv2d(1, 6, 1),
        b=nn.Conv2d(6, 4, 3, groups=2),
        c=nn.Conv2d(4, 1, 1),
    )
    assert weights_of(made, "b") == ((2, 8), (2, 3, 3, 2))


def test_one_width_keeps_its_order() -> None:
    made = lowered(
        lambda s, x: s.b(s.a(x).relu()), (2, 3, 3), {"a": (4,) * 5}, a=nn.Conv2d(2, 5, 1), b=nn.Conv2d(5, 2, 1)
    )
    assert all(np.array_equal(own, np.sort(own)) for own in made.elements.values())


MAPS = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))


@given(MAPS, st.data())
def test_spread_and_planes_are_inverse(shape: tuple[int, int, int], data: st.DataObject) -> None:
    kept: npt.NDArray[np.int64] = np.array(
        data.draw(st.lists(st.integers(0, shape[2] - 1), min_size=1, unique=True)), dtype=np.int64
    )
    elements = spread(kept, shape)
    assert left_over(elements, shape) == (*shape[:2], len(kept))
    assert planes(elements, shape).tolist() == kept.tolist()
    full = np.arange(np.prod(shape)).reshape(shape)
    assert full.ravel()[elements].tolist() == full[..., kept].ravel().tolist()


@given(st.lists(MAPS, min_size=2, max_size=3), st.integers(0, 2), st.data())
def test_joined_is_a_concat_of_what_is_left(shapes: list[tuple[int, int, int]], axis: int, data: st.DataObject) -> None:
    shapes = [tuple(shape[a] if a == axis else shapes[0][a] for a in range(3)) for shape in shapes]  # type: ignore[misc]
    channels = st.lists(st.integers(0, min(shape[2] for shape in shapes) - 1), min_size=1, unique=True)
    kept = [np.array(data.draw(channels), dtype=np.int64) for _ in shapes]
    if axis != 2:
        kept = kept[:1] * len(shapes)
    values = [np.random.default_rng(i).integers(0, 1000, shape) for i, shape in enumerate(shapes)]
    full = np.concatenate(values, axis=axis)
    found = joined([spread(own, s) for own, s in zip(kept, shapes, strict=True)], shapes, full.shape, axis)
    expected = np.concatenate([value[..., own] for value, own in zip(values, kept, strict=True)], axis=axis)
    assert full.ravel()[found].tolist() == expected.ravel().tolist()


def test_group_columns() -> None:
    columns, groups = group_columns(np.array([2, 0]), np.array([4, 5, 0, 1]), 3, (1, 2))
    assert (columns.tolist(), groups) == ([0], 2)
    columns, groups = group_columns(np.array([0, 2, 3, 5]), np.array([1, 3]), 2, (3, 2))
    assert (columns.tolist(), groups) == ([0, 2], 2)
