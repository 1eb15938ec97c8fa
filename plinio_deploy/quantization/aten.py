# SPDX-License-Identifier: Apache-2.0
"""What each ATen operator means in the captured graph: one small function per operator, found by name.

A handler reads a `Call` and answers with `Made` (a new node), with the `Reference` of its input (an identity), or with
`Finish` (an operator that the host does after the network). Anything that has no integer form is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from plinio_deploy.quantization import windows
from plinio_deploy.quantization.calls import (
    Call,
    Constant,
    Finish,
    Made,
    Reference,
    Result,
    copied_parameters,
    unsupported,
)
from plinio_deploy.quantization.graph import Add, BatchNorm, Clamp, Concat, Linear, Mean, Permute, Reshape

SUPPORTED = (
    "conv1d, conv2d, linear, batch_norm, relu, relu6, hardtanh, clamp, add, cat, avg_pool, adaptive_avg_pool, mean, "
    "max_pool, adaptive_max_pool, flatten, view, reshape, squeeze, unsqueeze, permute, pad, dropout; "
    "softmax, log_softmax, sigmoid and argmax at the end"
)


def translate(call: Call) -> Result:
    """What a call means.

    Raises:
        UnsupportedModel: it has no integer form here.
    """
    handler = _HANDLERS.get(call.name)
    if handler is None:
        raise unsupported(
            call.name,
            SUPPORTED,
            call.where,
            "Replace it by a supported operator (for example ReLU for other activations).",
            "Move it out of the model and do it on the host, before or after the network.",
        )
    return handler(call)


def _linear(call: Call) -> Result:
    weight, bias = call.constant("weight"), call.constant("bias")
    assert weight is not None
    operator = Linear(weight.key if bias is None else f"{weight.key},{bias.key}")
    return Made(operator, (call.source().name,), copied_parameters(weight.tensor, bias))


def _batch_norm(call: Call) -> Result:
    mean, variance = call.constant("running_mean"), call.constant("running_var")
    if mean is None or variance is None:
        raise unsupported(
            "batch_norm without running statistics",
            "track_running_stats=True",
            call.where,
            "Statistics of the batch do not exist on a device that sees one sample.",
        )
    weight, bias = call.constant("weight"), call.constant("bias")
    scale = torch.rsqrt(variance.tensor.double() + float(call.arguments["eps"]))
    if weight is not None:
        scale = scale * weight.tensor.double()
    shift = -mean.tensor.double() * scale
    if bias is not None:
        shift = shift + bias.tensor.double()
    return Made(BatchNorm(scale, shift, mean.key), (call.source().name,))


def _clamp(low: float, high: float) -> Callable[[Call], Result]:
    return lambda call: Made(Clamp(low, high), (call.source().name,))


def _hardtanh(call: Call) -> Result:
    return Made(Clamp(float(call.arguments["min_val"]), float(call.arguments["max_val"])), (call.source().name,))


def _clamp_call(call: Call) -> Result:
    low, high = call.arguments.get("min"), call.arguments.get("max")
    if isinstance(low, Constant | Reference) or isinstance(high, Constant | Reference):
        raise unsupported("clamp with tensor bounds", "clamp with numbers", call.where)
    return Made(
        Clamp(-math.inf if low is None else float(low), math.inf if high is None else float(high)),
        (call.source().name,),
    )


def _add(call: Call) -> Result:
    first, second = call.source("self"), call.arguments["other"]
    if not isinstance(second, Reference):
        raise unsupported(
            "add of a tensor and a constant",
            "add of two tensors that the network computes",
            call.where,
            "Fold the constant into the bias of the layer before it.",
        )
    if first.shape != second.shape:
        raise unsupported(f"add of shapes {first.shape} and {second.shape}", "equal shapes", call.where)
    if call.arguments.get("alpha", 1) != 1:
        raise unsupported(f"add with alpha={call.arguments['alpha']}", "alpha=1", call.where)
    return Made(Add(), (first.name, second.name))


def _cat(call: Call) -> Result:
    sources = call.arguments["tensors"]
    dim = int(call.arguments["dim"])
    if not all(isinstance(source, Reference) for source in sources):
        raise unsupported("cat with a constant", "cat of tensors that the network computes", call.where)
    rank = len(sources[0].shape) + 1
    dim = dim % rank
    if dim == 0:
        raise unsupported("cat along the batch", "cat along a dimension of the sample", call.where)
    if len(sources) == 1:
        result: Reference = sources[0]
        return result
    return Made(Concat(dim), tuple(source.name for source in sources))


def _dims(dims: Any, rank: int) -> tuple[int, ...]:
    listed = (dims,) if isinstance(dims, int) else tuple(dims or range(rank))
    return tuple(sorted(int(dim) % rank for dim in listed))


def _mean(call: Call) -> Result:
    source = call.source()
    dims = _dims(call.arguments.get("dim"), len(source.shape) + 1)
    if 0 in dims:
        raise unsupported("mean over the batch", "mean over dimensions of the sample", call.where)
    return Made(Mean(dims, bool(call.arguments.get("keepdim", False))), (source.name,))


def _reshape(call: Call) -> Result:
    source = call.source()
    shape = call.shape
    assert shape is not None
    if math.prod(shape[1:]) != math.prod(source.shape):
        raise unsupported(
            f"{call.name} of {source.shape} that mixes the samples of a batch",
            "a first dimension that stays the batch",
            call.where,
            "Write x.view(x.shape[0], ...) or torch.flatten(x, 1).",
        )
    if shape[1:] == source.shape:
        return source
    return Made(Reshape(), (source.name,))


def _permute(call: Call) -> Result:
    source = call.source()
    # torch itself says what its many names for a permutation do: to a tensor whose extents tell its dimensions apart.
    marked = torch.empty(tuple(range(1, len(source.shape) + 2)), device="meta")
    moved = getattr(torch, call.name)(marked, *list(call.arguments.values())[1:])
    order = tuple(size - 1 for size in moved.shape)
    if order == tuple(range(len(order))):
        return source
    if order[0] != 0:
        raise unsupported(f"{call.name} that moves the batch", "the batch as first dimension", call.where)
    return Made(Permute(order), (source.name,))


def _identity(call: Call) -> Result:
    source = call.source()
    if call.shape is not None and call.shape[1:] != source.shape:
        raise unsupported(f"{call.name} that changes the shape", "the same shape", call.where)
    return source


def _dropout(call: Call) -> Result:
    if call.arguments.get("train"):
        raise unsupported(f"{call.name} that is active in eval mode", "training=self.training", call.where)
    return call.source()


def _finish(call: Call) -> Result:
    source = call.source()
    dim = call.arguments.get("dim")
    if call.name == "argmax" and dim is None and len(source.shape) > 1:
        raise unsupported("argmax over the whole batch", "argmax along a dimension", call.where)
    return Finish(
        source,
        call.name.lstrip("_"),
        None if dim is None else int(dim) % (len(source.shape) + 1),
        bool(call.arguments.get("keepdim", False)),
    )


_HANDLERS: dict[str, Callable[[Call], Result]] = {
    "conv1d": windows.conv,
    "conv2d": windows.conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _clamp(0.0, math.inf),
    "relu6": _clamp(0.0, 6.0),
    "hardtanh": _hardtanh,
    "clamp": _clamp_call,
    "clamp_min": _clamp_call,
    "clamp_max": _clamp_call,
    "add": _add,
    "cat": _cat,
    "concat": _cat,
    "concatenate": _cat,
    "avg_pool1d": windows.avg_pool,
    "avg_pool2d": windows.avg_pool,
    "max_pool1d": windows.max_pool,
    "max_pool2d": windows.max_pool,
    "adaptive_avg_pool1d": windows.adaptive,
    "adaptive_avg_pool2d": windows.adaptive,
    "adaptive_max_pool1d": windows.adaptive,
    "adaptive_max_pool2d": windows.adaptive,
    "mean": _mean,
    **dict.fromkeys(("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "_unsafe_view"), _reshape),
    **dict.fromkeys(("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"), _permute),
    **dict.fromkeys(("pad", "constant_pad_nd"), windows.pad),
    **dict.fromkeys(
        ("contiguous", "clone", "alias", "detach", "to", "_to_copy", "expand", "lift_fresh_copy"), _identity
    ),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _dropout),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax", "sigmoid", "argmax"), _finish),
}
