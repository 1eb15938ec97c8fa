# SPDX-License-Identifier: Apache-2.0
"""Where each element lies in memory: torch counts channels first, the integer network stores channels last.

For every value an ``order`` is kept: ``order[k]`` is the index, in torch's own order of one sample, of the element at
position ``k`` in memory. Reshapes and permutations in torch only change how elements are *counted*, never where they
*lie*, so they cost nothing on the device; an operator that needs its input to lie differently is refused by name. The
one exception is free as well: a linear layer on a flat vector takes any order, its columns are put in that order.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plinio_deploy.quantization.calls import unsupported
from plinio_deploy.quantization.graph import (
    Add,
    AvgPool,
    Clamp,
    Concat,
    Conv,
    Graph,
    Input,
    Linear,
    MaxPool,
    Mean,
    Node,
    Pad,
    Permute,
    Reshape,
)

Order = npt.NDArray[np.int64]
Shape = tuple[int, ...]
_MEMORY_AXES = "HWC"


@dataclass(frozen=True, eq=False)
class Place:
    """How a node's result, and what it reads, lie in memory.

    Attributes:
        order: position in memory -> torch's index, per sample.
        shape: of the result in the integer network, ``(H, W, C)`` or ``(C,)``.
        input_shapes: in the integer network, for each input, as the op needs it.
        axis: for a concat, the axis in the integer network; else 0.
        window: for a mean, its height and width; else ``(0, 0)``.
    """

    order: Order
    shape: Shape
    input_shapes: tuple[Shape, ...] = ()
    axis: int = 0
    window: tuple[int, int] = (0, 0)


def places(graph: Graph) -> dict[str, Place]:
    """Where the result of every node lies.

    Raises:
        UnsupportedModel: an operator would need elements to be moved in memory; names it.
    """
    found: dict[str, Place] = {}
    for node in graph.nodes:
        found[node.name] = _PLACERS[type(node.operator)](node, [found[name] for name in node.inputs], graph)
    for name in graph.outputs:
        node = graph.by_name()[name]
        if not np.array_equal(found[name].order, _standard(node.shape, node)):
            raise unsupported(
                f"an output of shape {node.shape} that lies transposed in memory",
                "channels before the spatial dimensions",
                node.where,
                "Return it with the channels first (permute it back), and before it is flattened.",
            )
    return found


def arrange(shape: Shape, axes: str) -> Order:
    """Order of a tensor whose dimensions go by ``axes`` (letters of ``HWC``, or ``1`` for an extent of 1)."""
    inner = [_MEMORY_AXES.find(axis) for axis in axes]
    dims = sorted(range(len(shape)), key=lambda dim: (inner[dim], dim))
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape).transpose(dims).ravel()


def standard_shape(shape: Shape) -> Shape:
    """Shape in the integer network of a torch tensor ``(C, H, W)``, ``(C, L)`` or ``(C,)``."""
    if len(shape) == 1:
        return shape
    return (shape[1], shape[2], shape[0]) if len(shape) == 3 else (1, shape[1], shape[0])


def _standard_axes(shape: Shape, node: Node) -> str:
    axes = {1: "C", 2: "CW", 3: "CHW"}.get(len(shape))
    if axes is None:
        raise unsupported(f"a tensor of {len(shape)} dimensions and a batch", "up to 3 and a batch", node.where)
    return axes


def _standard(shape: Shape, node: Node) -> Order:
    return arrange(shape, _standard_axes(shape, node))


def _all_axes(shape: Shape) -> list[str]:
    """Every way to name a tensor's dimensions, torch's own way first."""
    wide = [dim for dim, size in enumerate(shape) if size > 1] if len(shape) > 3 else list(range(len(shape)))
    if len(wide) > 3:
        return []
    letters = {0: ("",), 1: ("C",), 2: ("CW", "WC", "CH", "HC"), 3: ("CHW",)}[len(wide)]
    if len(wide) == 3:
        letters = ("CHW", *("".join(p) for p in itertools.permutations("HWC") if "".join(p) != "CHW"))
    names = []
    for choice in letters:
        axes = ["1"] * len(shape)
        for dim, letter in zip(wide, choice, strict=True):
            axes[dim] = letter
        names.append("".join(axes))
    return names


def _network_shape(shape: Shape, axes: str) -> Shape:
    extent = dict(zip(axes, shape, strict=True))
    return (extent.get("H", 1), extent.get("W", 1), extent.get("C", 1))


def _moved(node: Node, source_shape: Shape) -> Exception:
    name = type(node.operator).__name__.lower()
    return unsupported(
        f"{name} of shape {source_shape} whose elements would have to be moved in memory",
        "an input that lies in memory as this operator reads it (channels last)",
        node.where,
        "Remove the permute, transpose or reshape before it, or undo it first.",
    )


def _input(node: Node, _: list[Place], __: Graph) -> Place:
    return Place(_standard(node.shape, node), standard_shape(node.shape))


def _spatial(node: Node, sources: list[Place], graph: Graph) -> Place:
    """Convolutions, pooling windows and padding: torch's standard layout in and out."""
    shape = graph.by_name()[node.inputs[0]].shape
    if not np.array_equal(sources[0].order, _standard(shape, node)):
        raise _moved(node, shape)
    return Place(_standard(node.shape, node), standard_shape(node.shape), (standard_shape(shape),))


def _linear(node: Node, sources: list[Place], graph: Graph) -> Place:
    shape = graph.by_name()[node.inputs[0]].shape
    if len(shape) == 1:
        return Place(np.arange(node.shape[0], dtype=np.int64), node.shape, (shape,))
    if len(shape) > 3 or not np.array_equal(sources[0].order, np.arange(math.prod(shape))):
        raise _moved(node, shape)
    height, width, channels = (1, *shape)[-3:]
    order = np.arange(math.prod(node.shape), dtype=np.int64)
    return Place(order, (height, width, node.shape[-1]), ((height, width, channels),))


def _add(node: Node, sources: list[Place], _: Graph) -> Place:
    first, second = sources
    if not np.array_equal(first.order, second.order):
        raise _moved(node, node.shape)
    return Place(first.order, first.shape, (first.shape, first.shape))


def _same(_: Node, sources: list[Place], __: Graph) -> Place:
    return Place(sources[0].order, sources[0].shape, (sources[0].shape,))


def _permute(node: Node, sources: list[Place], graph: Graph) -> Place:
    assert isinstance(node.operator, Permute)
    shape = graph.by_name()[node.inputs[0]].shape
    old = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    old = old.transpose([dim - 1 for dim in node.operator.dims[1:]]).ravel()
    position = np.empty_like(old)
    position[old] = np.arange(old.size)
    return Place(position[sources[0].order], sources[0].shape, (sources[0].shape,))


def _concat(node: Node, sources: list[Place], graph: Graph) -> Place:
    assert isinstance(node.operator, Concat)
    nodes = graph.by_name()
    shapes = [nodes[name].shape for name in node.inputs]
    dim = node.operator.dim - 1
    if len(node.shape) == 1:
        offsets = np.cumsum([0, *(shape[0] for shape in shapes[:-1])])
        order = np.concatenate([place.order + offset for place, offset in zip(sources, offsets, strict=True)])
        return Place(order, node.shape, tuple(shapes))
    for axes in _all_axes(node.shape):
        fits = [np.array_equal(place.order, arrange(s, axes)) for place, s in zip(sources, shapes, strict=True)]
        if axes[dim] != "1" and all(fits):
            inputs = tuple(_network_shape(shape, axes) for shape in shapes)
            axis = _MEMORY_AXES.index(axes[dim])
            return Place(arrange(node.shape, axes), _network_shape(node.shape, axes), inputs, axis=axis)
    raise _moved(node, shapes[0])


def _mean(node: Node, sources: list[Place], graph: Graph) -> Place:
    assert isinstance(node.operator, Mean)
    shape = graph.by_name()[node.inputs[0]].shape
    reduced = {dim - 1 for dim in node.operator.dims}
    for axes in _all_axes(shape):
        if any(axes[dim] == "C" and shape[dim] > 1 for dim in reduced):
            continue
        if np.array_equal(sources[0].order, arrange(shape, axes)):
            left = "".join(axis for dim, axis in enumerate(axes) if dim not in reduced)
            extent = dict(zip(axes, shape, strict=True))
            gone = {axes[dim] for dim in reduced}
            window = (extent["H"] if "H" in gone else 1, extent["W"] if "W" in gone else 1)
            inside = _network_shape(shape, axes)
            result = (inside[0] // window[0], inside[1] // window[1], inside[2])
            order = arrange(tuple(size for dim, size in enumerate(shape) if dim not in reduced), left)
            return Place(order, result, (inside,), window=window)
    raise _moved(node, shape)


_PLACERS = {
    Input: _input,
    Conv: _spatial,
    AvgPool: _spatial,
    MaxPool: _spatial,
    Pad: _spatial,
    Linear: _linear,
    Add: _add,
    Clamp: _same,
    Reshape: _same,
    Permute: _permute,
    Concat: _concat,
    Mean: _mean,
}
