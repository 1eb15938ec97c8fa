# SPDX-License-Identifier: Apache-2.0
"""What each ATen operator means in the captured graph: one small function per operator, found by name.

A handler reads a `Call` and answers with `Made` (a new node), with the `Reference` of its input (an identity), or with
`Finish` (an operator that the host does after the network). Anything that has no integer form is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Clamp,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Mean,
    Operator,
    Pad,
    Padding,
    Pair,
    Parameters,
    Permute,
    Reshape,
    Where,
)


@dataclass(frozen=True)
class Reference:
    """The result of a node; ``shape`` leaves the batch out."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Constant:
    """A parameter, buffer or constant; ``key`` names where it came from."""

    tensor: Tensor
    key: str


@dataclass(frozen=True)
class Finish:
    """The result of an operator that the host does after the network."""

    source: Reference
    kind: str
    dim: int | None
    keepdim: bool = False


@dataclass(frozen=True, eq=False)
class Made:
    """A new node, and the parameters that its operator names, if any."""

    operator: Operator
    inputs: tuple[str, ...]
    parameters: Parameters | None = None


Result: TypeAlias = Made | Reference | Finish


@dataclass(frozen=True, eq=False)
class Call:
    """One ATen call: name without the trailing underscore, arguments by name, the result's shape with the batch."""

    name: str
    overload: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...] | None
    where: Where
    inplace: bool

    def source(self, key: str = "") -> Reference:
        """The tensor argument ``key`` (the first argument if empty), which must come from the network."""
        value = self.arguments[key] if key else next(iter(self.arguments.values()))
        if isinstance(value, Finish):
            raise unsupported(
                f"{self.name} after {value.kind}", f"{value.kind} as the model's last operator", self.where
            )
        if not isinstance(value, Reference):
            raise unsupported(
                f"{self.name} of a constant and a tensor",
                "operators between tensors that the network computes",
                self.where,
                "Fold the constant into the layer before or after it, or into the recipe's input range.",
            )
        return value

    def constant(self, key: str) -> Constant | None:
        """The parameter ``key``, or ``None`` where there is none."""
        value = self.arguments.get(key)
        if value is None or isinstance(value, Constant):
            return value
        raise unsupported(f"{self.name} with a computed {key}", f"a constant {key}", self.where)


SUPPORTED = (
    "conv1d, conv2d, linear, batch_norm, relu, relu6, hardtanh, clamp, add, cat, avg_pool, adaptive_avg_pool, mean, "
    "max_pool, adaptive_max_pool, flatten, view, reshape, squeeze, unsqueeze, permute, pad, dropout; "
    "softmax, log_softmax, sigmoid and argmax at the end"
)


def unsupported(got: str, expected: str, where: Where, *hints: str) -> UnsupportedModel:
    """The refusal of an operator."""
    return UnsupportedModel(
        "the model holds an operator without an integer form", where=str(where), got=got, expected=expected, hints=hints
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


def _pair(value: int | Sequence[int], spatial: int, *, first: int) -> Pair:
    """Two numbers out of torch's int, one or two; one-dimensional operators get ``first`` for the height."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if spatial == 1:
        return (first, numbers[0])
    return (numbers[0], numbers[-1])


def _symmetric(pair: Pair) -> Padding:
    return (pair[0], pair[0], pair[1], pair[1])


def _same_padding(kernel: Pair, dilation: Pair) -> Padding:
    """Torch's 'same': the odd element goes to the end."""
    total = tuple(step * (size - 1) for size, step in zip(kernel, dilation, strict=True))
    return (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)


def _parameters(weight: Tensor, bias: Constant | None) -> Parameters:
    return Parameters(weight.clone(), None if bias is None else bias.tensor.clone())


def _conv(call: Call) -> Result:
    spatial = 1 if call.name == "conv1d" else 2
    weight = call.constant("weight")
    bias = call.constant("bias")
    source = call.source()
    if weight is None or len(source.shape) != spatial + 1:
        raise unsupported(
            f"{call.name} of a tensor of shape {source.shape}", f"{spatial + 1} dimensions and a batch", call.where
        )
    kernel4d = weight.tensor if spatial == 2 else weight.tensor.unsqueeze(2)
    kernel = (int(kernel4d.shape[2]), int(kernel4d.shape[3]))
    dilation = _pair(call.arguments["dilation"], spatial, first=1)
    padding = call.arguments["padding"]
    if padding == "same":
        pads = _same_padding(kernel, dilation)
    elif padding == "valid":
        pads = (0, 0, 0, 0)
    else:
        pads = _symmetric(_pair(padding, spatial, first=0))
    operator = Conv(
        parameters=weight.key if bias is None else f"{weight.key},{bias.key}",
        stride=_pair(call.arguments["stride"], spatial, first=1),
        padding=pads,
        dilation=dilation,
        groups=int(call.arguments["groups"]),
        spatial=spatial,
    )
    return Made(operator, (source.name,), _parameters(kernel4d, bias))


def _linear(call: Call) -> Result:
    weight, bias = call.constant("weight"), call.constant("bias")
    assert weight is not None
    operator = Linear(weight.key if bias is None else f"{weight.key},{bias.key}")
    return Made(operator, (call.source().name,), _parameters(weight.tensor, bias))


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


def _avg_pool(call: Call) -> Result:
    spatial = 1 if call.name == "avg_pool1d" else 2
    arguments = call.arguments
    source = call.source()
    kernel = _pair(arguments["kernel_size"], spatial, first=1)
    stride = _pair(arguments["stride"] or arguments["kernel_size"], spatial, first=1)
    padding = _symmetric(_pair(arguments["padding"], spatial, first=0))
    if arguments["ceil_mode"] and _ceil_extra(call, source, kernel, stride, padding, (1, 1)) != (0, 0):
        raise unsupported("avg_pool with ceil_mode=True and a partial window", "ceil_mode=False", call.where)
    if any(padding) and not arguments["count_include_pad"]:
        raise unsupported("avg_pool with padding and count_include_pad=False", "count_include_pad=True", call.where)
    divisor = arguments.get("divisor_override") or kernel[0] * kernel[1]
    return Made(AvgPool(kernel, stride, padding, int(divisor), spatial), (source.name,))


def _max_pool(call: Call) -> Result:
    spatial = 1 if call.name.startswith("max_pool1d") else 2
    arguments = call.arguments
    source = call.source()
    kernel = _pair(arguments["kernel_size"], spatial, first=1)
    stride = _pair(arguments["stride"] or arguments["kernel_size"], spatial, first=1)
    dilation = _pair(arguments["dilation"], spatial, first=1)
    padding = _symmetric(_pair(arguments["padding"], spatial, first=0))
    if arguments["ceil_mode"]:
        extra = _ceil_extra(call, source, kernel, stride, padding, dilation)
        padding = (padding[0], padding[1] + extra[0], padding[2], padding[3] + extra[1])
    return Made(MaxPool(kernel, stride, padding, dilation, spatial), (source.name,))


def _spatial_shape(shape: Sequence[int]) -> Pair:
    """Height and width of ``(C, H, W)`` or ``(C, L)``."""
    return (int(shape[1]), int(shape[2])) if len(shape) == 3 else (1, int(shape[1]))


def _ceil_extra(call: Call, source: Reference, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    """Rows and columns by which ceil_mode's last window reaches beyond the padded input."""
    shape = call.shape
    if shape is None:  # max_pool with indices: a pair of tensors
        raise unsupported(f"{call.name} with ceil_mode=True", "ceil_mode=False", call.where)
    size, result = _spatial_shape(source.shape), _spatial_shape(shape[1:])
    pads = (padding[0] + padding[1], padding[2] + padding[3])
    extra = [
        max(0, (result[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - size[i] - pads[i]) for i in range(2)
    ]
    return (extra[0], extra[1])


def _adaptive(call: Call) -> Result:
    spatial = 1 if "1d" in call.name else 2
    source = call.source()
    size = _spatial_shape(source.shape)
    wanted = _pair(call.arguments["output_size"], spatial, first=1)
    if size[0] % wanted[0] or size[1] % wanted[1]:
        raise unsupported(f"{call.name} of {size} to {wanted}", "an output size that divides the input's", call.where)
    kernel = (size[0] // wanted[0], size[1] // wanted[1])
    if "avg" in call.name:
        return Made(AvgPool(kernel, kernel, (0, 0, 0, 0), kernel[0] * kernel[1], spatial), (source.name,))
    return Made(MaxPool(kernel, kernel, (0, 0, 0, 0), (1, 1), spatial), (source.name,))


def _dims(call: Call, dims: Any, rank: int) -> tuple[int, ...]:
    listed = (dims,) if isinstance(dims, int) else tuple(dims or range(rank))
    return tuple(sorted(int(dim) % rank for dim in listed))


def _mean(call: Call) -> Result:
    source = call.source()
    dims = _dims(call, call.arguments.get("dim"), len(source.shape) + 1)
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
    rank = len(source.shape) + 1
    order = list(range(rank))
    if call.name == "permute":
        order = [int(dim) % rank for dim in call.arguments["dims"]]
    else:
        first, second = (int(call.arguments[key]) % rank for key in ("dim0", "dim1"))
        order[first], order[second] = order[second], order[first]
    if order == list(range(rank)):
        return source
    if order[0] != 0:
        raise unsupported(f"{call.name} that moves the batch", "the batch as first dimension", call.where)
    return Made(Permute(tuple(order)), (source.name,))


def _pad(call: Call) -> Result:
    source = call.source()
    widths = [int(width) for width in call.arguments["pad"]]
    mode, value = call.arguments.get("mode", "constant"), call.arguments.get("value")
    if mode != "constant" or value not in (None, 0, 0.0):
        raise unsupported(f"pad with mode={mode!r}, value={value}", "padding with zeros", call.where)
    spatial = len(source.shape) - 1
    widths += [0] * (2 * (spatial + 1) - len(widths))
    if spatial not in (1, 2) or any(widths[2 * spatial :]) or min(widths) < 0:
        raise unsupported(
            f"pad by {widths} of {source.shape}", "non-negative padding of the spatial dimensions", call.where
        )
    if not any(widths):
        return source
    rows = (widths[2], widths[3]) if spatial == 2 else (0, 0)
    return Made(Pad((rows[0], rows[1], widths[0], widths[1]), spatial), (source.name,))


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
    "conv1d": _conv,
    "conv2d": _conv,
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
    "avg_pool1d": _avg_pool,
    "avg_pool2d": _avg_pool,
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "adaptive_avg_pool1d": _adaptive,
    "adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool1d": _adaptive,
    "adaptive_max_pool2d": _adaptive,
    "mean": _mean,
    **dict.fromkeys(("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "_unsafe_view"), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(
        ("contiguous", "clone", "alias", "detach", "to", "_to_copy", "expand", "lift_fresh_copy"), _identity
    ),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _dropout),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax", "sigmoid", "argmax"), _finish),
}
