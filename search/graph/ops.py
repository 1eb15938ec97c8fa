# SPDX-License-Identifier: Apache-2.0
"""What functions and methods do to channels, by meaning: elementwise, data movement, pooling, reduction, or opaque.

Functions and methods of one name mean one thing (``torch.add``, ``x.add``, ``x.add_``, ``operator.iadd``), so one table
of names serves all forms. Data movement is not described at all: the operation itself is run on the identifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone uses
from torch import Tensor, fx, nn

from plinio_deploy.search.graph.channels import Channels, flatten
from plinio_deploy.search.graph.ids import Features, spread
from plinio_deploy.search.graph.names import (
    ELEMENTWISE,
    MOVEMENT,
    OPAQUE,
    OVER_AXIS,
    QUIET,
    REDUCTIONS,
    SPATIAL,
    name_of,
)
from plinio_deploy.search.graph.shapes import Plain, plain


def operation_features(channels: Channels, node: fx.Node) -> Any:
    """Features of what a function or method returns, after noting all ties that it makes."""
    name = name_of(node)
    if not any(channels.governed(source) for source in node.all_input_nodes):
        return _ungoverned(channels, node)
    if isinstance(channels.shapes[node], Plain):
        return None  # a size, a type: numbers about the tensor
    if name == "getitem" and isinstance(channels.features[node.all_input_nodes[0]], tuple):
        return channels.features[node.all_input_nodes[0]][node.args[1]]
    if name in {"getattr:T", "getattr:mT", "getattr:H"}:
        return _moved(channels, node, lambda x: getattr(x, name[8:]), None)
    if name in ELEMENTWISE or name in {"getattr:data", "getattr:real"}:
        return elementwise(channels, node)
    if name in MOVEMENT:
        return movement(channels, node, None)
    if name == "pad":
        pads = _argument(channels, node, 1, "pad", ())
        mode = _argument(channels, node, 2, "mode", "constant")
        return padded(channels, node, pads, constant=mode == "constant")
    if name.startswith(SPATIAL):
        digit = next(
            (int(letter) for letter in name if letter.isdigit()), len(channels.shapes[channels.tensors(node)[0]]) - 2
        )
        return spatial(channels, node, digit)
    if name in REDUCTIONS or name in OVER_AXIS:
        return _reduction(channels, node, name)
    channels.refuse(node, _why_not(name))
    return None


def _why_not(name: str) -> str:
    if name in OPAQUE:
        return f"{name} as a function mixes channels in a way that cannot be searched"
    return f"it is not known what {name} does to channels"


def _ungoverned(channels: Channels, node: fx.Node) -> Any:
    """Nothing that flows in can vanish, so nothing that flows out can."""
    shape = channels.shapes[node]
    return None if isinstance(shape, torch.Size | Plain) else tuple(None for _ in shape)


def _argument(channels: Channels, node: fx.Node, index: int, name: str, default: Any) -> Any:
    value = node.kwargs.get(name, node.args[index] if len(node.args) > index else default)
    return fx.map_arg(value, lambda source: plain(channels.shapes[source])) if value is not None else None


def elementwise(channels: Channels, node: fx.Node) -> Features | None:
    """Operands of one shape (or broadcast to it): governed axes are tied, constants follow, anything else freezes."""
    out = channels.shapes[node]
    if not isinstance(out, torch.Size):
        channels.refuse(node, "an elementwise operation that does not return a tensor")
        return None
    chosen: Features | None = None
    for source in channels.tensors(node):
        features = channels.features[source]
        if features is None:
            continue
        aligned = Features(features.axis + len(out) - len(channels.shapes[source]), features.ids)
        if chosen is None or (
            source.op != "get_attr" and aligned.axis == chosen.axis and len(aligned.ids) > len(chosen.ids)
        ):
            chosen, previous = aligned, chosen
            if previous is not None:
                channels.freeze(previous)
        elif aligned.axis == chosen.axis and len(aligned.ids) == len(chosen.ids):
            channels.ids.unify(chosen.ids, aligned.ids)
        else:
            channels.freeze(aligned)
    if chosen is None:
        return None
    if len(chosen.ids) != out[chosen.axis]:
        channels.freeze(chosen)
        return None
    for source in channels.tensors(node):
        _bind(channels, source, chosen, out)
    return chosen


def _bind(channels: Channels, source: fx.Node, chosen: Features, out: torch.Size) -> None:
    """An operand without identifiers: it broadcasts, is a constant that follows, or freezes the governed one."""
    shape = channels.shapes[source]
    axis = chosen.axis - len(out) + len(shape)
    if channels.features[source] is not None or axis < 0 or shape[axis] == 1:
        return
    if source.op == "get_attr":
        ids = channels.ids.fresh(shape[axis])
        channels.features[source] = Features(axis, ids)
        channels.ids.unify(ids, chosen.ids)
    else:
        channels.freeze(chosen)


def movement(channels: Channels, node: fx.Node, module: nn.Module | None) -> Any:
    """Run the operation on identifiers instead of numbers."""
    return _moved(channels, node, module if module is not None else None, _input_axis(channels, node))


def _input_axis(channels: Channels, node: fx.Node) -> int | None:
    """For joins, where every input has its channels on one axis: that axis stays the governed one."""
    if name_of(node) not in {"cat", "concat", "concatenate", "hstack", "vstack"}:
        return None
    axes = {item.axis for source in node.all_input_nodes for item in flatten(channels.features.get(source))}
    return axes.pop() if len(axes) == 1 else None


def run_on_ids(node: fx.Node, module: Callable[..., Any] | None, look: Callable[[fx.Node], Any]) -> Any:
    """Call the operation of a data-movement node on the tensors that ``look`` gives for its arguments."""
    args, kwargs = fx.map_arg(node.args, look), fx.map_arg(node.kwargs, look)
    if module is not None:
        return module(*args, **kwargs)
    if node.op == "call_method":
        target = {"view": "reshape", "view_as": "reshape_as"}.get(str(node.target), str(node.target))
        return getattr(args[0], target)(*args[1:], **kwargs)  # identifiers lie in memory unlike the numbers
    assert callable(node.target)
    return node.target(*args, **kwargs)


def _moved(channels: Channels, node: fx.Node, module: Callable[..., Any] | None, prefer: int | None) -> Any:
    def look(source: fx.Node) -> Any:
        if source in channels.indices:
            return channels.indices[source]
        return spread_nested(channels.features[source], channels.shapes[source])

    moved = run_on_ids(node, module, look)
    if isinstance(moved, Tensor):
        return channels.settle_axis(moved, prefer)
    return tuple(channels.settle_axis(item, prefer) for item in moved)


def spread_nested(features: Any, shape: Any) -> Any:
    """Identifiers of every element, for a tensor or for a tuple or list of them; plain values as they are."""
    if isinstance(shape, torch.Size):
        return spread(features, shape)
    if isinstance(shape, Plain):
        return shape.value
    rows = features if isinstance(features, tuple | list) else [None] * len(shape)
    return type(shape)(spread_nested(item, size) for item, size in zip(rows, shape, strict=True))


def padded(channels: Channels, node: fx.Node, pads: Sequence[int], *, constant: bool) -> Features | None:
    """Padding of the last axes; on the channel axis, constant channels appear that always stay."""
    features = channels.features[channels.tensors(node)[0]]
    if features is None:
        return None
    from_end = len(channels.shapes[node]) - 1 - features.axis
    sides = tuple(pads[2 * from_end : 2 * from_end + 2])
    if not any(sides):
        return Features(features.axis, features.ids)
    if not constant or min(sides) < 0:
        channels.refuse(node, "channels are cut off or reflected by a padding")
        return None
    ids = F.pad(torch.from_numpy(features.ids.copy()), sides, value=0)
    return Features(features.axis, ids.numpy())


def spatial(channels: Channels, node: fx.Node, dims: int) -> Any:
    """Pooling or resizing of the last ``dims`` axes: channels stay apart if they lie on none of these."""
    features = channels.features[channels.tensors(node)[0]]
    shape = channels.shapes[node]
    if features is not None and features.axis >= len(channels.shapes[channels.tensors(node)[0]]) - dims:
        channels.refuse(node, "pooling or resizing runs along the channel axis")
        features = None
    return features if isinstance(shape, torch.Size) else tuple(features for _ in shape)


def _reduction(channels: Channels, node: fx.Node, name: str) -> Any:
    index = {"norm": 2, "topk": 2, "normalize": 2}.get(name, 1)
    keyword = "axis" if "axis" in node.kwargs else "dim"
    default = {"normalize": 1, "topk": -1, "sort": -1, "argsort": -1}.get(name)
    dims = _argument(channels, node, index, keyword, default)
    return over_axes(channels, node, dims, quiet=name in QUIET)


def over_axes(channels: Channels, node: fx.Node, dims: Any, *, quiet: bool) -> Any:
    """An operation along some axes (mean, max, softmax): channels stay apart if they lie on none of these.

    Along the channel axis itself the channels are frozen (``quiet``: softmax, argmax; usually at the end) or refused.
    """
    source = channels.tensors(node)[0]
    features, rank = channels.features[source], len(channels.shapes[source])
    shape = channels.shapes[node]
    if features is None:
        return None if isinstance(shape, torch.Size) else tuple(None for _ in shape)
    if not isinstance(dims, int | tuple | list):
        axes = set(range(rank))
    else:
        axes = {int(dim) % rank for dim in ((dims,) if isinstance(dims, int) else dims)}
    if features.axis in axes or len(channels.tensors(node)) > 1:
        if quiet:
            channels.freeze_inputs(node, "it runs along the channel axis")
        else:
            channels.refuse(
                node, "it runs along the channel axis, and its result would change with the number of channels"
            )
        return None if isinstance(shape, torch.Size) else tuple(None for _ in shape)

    def after(size: torch.Size) -> Features:
        gone = sum(axis < features.axis for axis in axes) if len(size) < rank else 0
        return Features(features.axis - gone, features.ids)

    return after(shape) if isinstance(shape, torch.Size) else tuple(after(size) for size in shape)
