# SPDX-License-Identifier: Apache-2.0
"""The rules of each op: shapes, parameters, quantizers."""

from __future__ import annotations

import math
from collections.abc import Callable

from plinio_deploy import fixedpoint
from plinio_deploy.fixedpoint import INT32_MAX
from plinio_deploy.network import (
    Add,
    AddRescale,
    AvgPool,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Network,
    Op,
    Pad,
    Padding,
    Requantize,
    Reshape,
    Tensor,
    Tflite,
    TfliteAdd,
)
from plinio_deploy.verify.arithmetic import check_accumulator, check_clamp, check_requant, check_weights
from plinio_deploy.verify.rules import require


def _window_output(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def _check_windows(
    network: Network,
    op: Conv | AvgPool | MaxPool,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int],
) -> None:
    source, out = network.tensors[op.input], network.tensors[op.output]
    where = op.name
    require(len(source.shape) == 3 and len(out.shape) == 3, where, "needs (H, W, C) tensors", source.shape, "3 axes")
    positive = min(*kernel, *stride, *dilation) >= 1 and min(padding) >= 0
    require(
        positive,
        where,
        "kernel, stride or dilation below 1, or padding below 0",
        (kernel, stride, dilation, padding),
        "",
    )
    expected = (
        _window_output(source.shape[0], kernel[0], stride[0], padding[:2], dilation[0]),
        _window_output(source.shape[1], kernel[1], stride[1], padding[2:], dilation[1]),
    )
    require(out.shape[:2] == expected, where, "the output has the wrong height or width", out.shape[:2], expected)


def _conv(network: Network, op: Op) -> None:
    assert isinstance(op, Conv)
    require(
        op.weights.codes.ndim == 4, op.name, "weights need 4 axes", op.weights.codes.shape, "(C', Kh, Kw, C/groups)"
    )
    _check_windows(network, op, op.kernel, op.stride, op.padding, op.dilation)
    channels_in = network.tensors[op.input].channels
    require(op.groups >= 1, op.name, "groups below 1", op.groups, "at least 1")
    divides = channels_in % op.groups == 0 and op.weights.out_channels % op.groups == 0
    require(divides, op.name, "groups do not divide the channels", op.groups, (channels_in, op.weights.out_channels))
    per_group = op.weights.codes.shape[3]
    require(per_group * op.groups == channels_in, op.name, "input channels differ", channels_in, per_group * op.groups)
    check_weights(network, op)


def _linear(network: Network, op: Op) -> None:
    assert isinstance(op, Linear)
    require(op.weights.codes.ndim == 2, op.name, "weights need 2 axes", op.weights.codes.shape, "(C', C)")
    source, out = network.tensors[op.input], network.tensors[op.output]
    require(len(out.shape) == 1, op.name, "the output is no vector", out.shape, "(C',)")
    require(
        source.shape == op.weights.codes.shape[1:],
        op.name,
        "the input's shape",
        source.shape,
        op.weights.codes.shape[1:],
    )
    check_weights(network, op)


def _add(network: Network, op: Op) -> None:
    assert isinstance(op, Add)
    first, second = (network.tensors[name] for name in op.inputs)
    out = network.tensors[op.output]
    same = first.shape == second.shape == out.shape
    require(same, op.name, "an add needs equal shapes", (first.shape, second.shape, out.shape), "one shape")
    rescale = op.rescale
    check_clamp(op.name, rescale.clamp, out)
    flavour = "tflite" if isinstance(rescale, TfliteAdd) else "hi32"
    require(flavour == network.flavour, op.name, "an add of the other flavour", flavour, network.flavour)
    if isinstance(rescale, AddRescale):
        require(0 <= rescale.shift <= 30, op.name, "a shift is out of range", rescale.shift, "0 to 30")
        require(min(rescale.multipliers) > 0, op.name, "a multiplier is not positive", rescale.multipliers, "> 0")
        ranges = ((first.qmin, first.qmax), (second.qmin, second.qmax))
        fits = fixedpoint.add_fits(rescale.multipliers, rescale.offset, ranges)
        got = (rescale.multipliers, rescale.offset)
        require(fits, op.name, "an input can overflow the add", got, "partial sums within int32")
        return
    shifts_good = all(-31 <= shift <= 0 for shift in rescale.shifts)
    require(shifts_good, op.name, "a shift is out of range", rescale.shifts, "-31 to 0")
    good = all(0 <= multiplier <= INT32_MAX for multiplier in rescale.multipliers)
    require(good, op.name, "a multiplier is out of range", rescale.multipliers, "0 to 2^31 - 1")
    require(0 <= rescale.left_shift <= 21, op.name, "a left shift is out of range", rescale.left_shift, "0 to 21")


def _concat(network: Network, op: Op) -> None:
    assert isinstance(op, Concat)
    out = network.tensors[op.output]
    require(len(op.inputs) >= 2, op.name, "a concat needs two inputs", len(op.inputs), "at least 2")
    require(0 <= op.axis < len(out.shape), op.name, "no such axis", op.axis, f"0 to {len(out.shape) - 1}")
    total = 0
    for name in op.inputs:
        source = network.tensors[name]
        others = [size for axis, size in enumerate(source.shape) if axis != op.axis]
        wanted = [size for axis, size in enumerate(out.shape) if axis != op.axis]
        same_rank = len(source.shape) == len(out.shape) and others == wanted
        require(same_rank, op.name, "inputs differ off the axis", source.shape, out.shape)
        require(source.same_quantizer(out), op.name, f"input {name} has another quantizer", source, out)
        total += source.shape[op.axis]
    require(total == out.shape[op.axis], op.name, "extents do not add up", total, out.shape[op.axis])


def _avg_pool(network: Network, op: Op) -> None:
    assert isinstance(op, AvgPool)
    _check_windows(network, op, op.kernel, op.stride, op.padding, (1, 1))
    source, out = network.tensors[op.input], network.tensors[op.output]
    require(source.channels == out.channels, op.name, "channels differ", out.channels, source.channels)
    check_requant(network, op.name, op.requant, 1, out)
    if isinstance(op.requant, Tflite):
        same = source.same_quantizer(out)
        require(same, op.name, "TFLite's average needs one quantizer", out, source)
        # It divides by the number of real elements.
        _check_no_empty_window(op.name, source, op.kernel, op.stride, op.padding, (1, 1), out)
    count = math.prod(op.kernel)
    low, high = count * min(0, source.qmin), count * source.qmax
    check_accumulator(op.name, low, high, (op.bias, op.bias), op.requant)


def _max_pool(network: Network, op: Op) -> None:
    assert isinstance(op, MaxPool)
    _check_windows(network, op, op.kernel, op.stride, op.padding, op.dilation)
    source, out = network.tensors[op.input], network.tensors[op.output]
    require(source.channels == out.channels, op.name, "channels differ", out.channels, source.channels)
    require(source.same_quantizer(out), op.name, "a max pool keeps its quantizer", out, source)
    _check_no_empty_window(op.name, source, op.kernel, op.stride, op.padding, op.dilation, out)


def _check_no_empty_window(
    where: str,
    source: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int],
    out: Tensor,
) -> None:
    """Every window reaches at least one real element, else its maximum would not be defined."""
    for axis, before in ((0, padding[0]), (1, padding[2])):
        for index in range(out.shape[axis]):
            first = index * stride[axis] - before
            taps = (first + tap * dilation[axis] for tap in range(kernel[axis]))
            reaches = any(0 <= tap < source.shape[axis] for tap in taps)
            require(reaches, where, "a window lies in the padding alone", padding, f"less than the kernel {kernel}")


def _reshape(network: Network, op: Op) -> None:
    assert isinstance(op, Reshape)
    source, out = network.tensors[op.input], network.tensors[op.output]
    require(source.elements == out.elements, op.name, "a reshape keeps all elements", out.shape, source.shape)
    require(source.same_quantizer(out), op.name, "a reshape keeps its quantizer", out, source)


def _requantize(network: Network, op: Op) -> None:
    assert isinstance(op, Requantize)
    source, out = network.tensors[op.input], network.tensors[op.output]
    require(source.shape == out.shape, op.name, "a requantization keeps its shape", out.shape, source.shape)
    check_requant(network, op.name, op.requant, 1, out)
    check_accumulator(op.name, min(0, source.qmin), source.qmax, (op.bias, op.bias), op.requant)


def _pad(network: Network, op: Op) -> None:
    assert isinstance(op, Pad)
    source, out = network.tensors[op.input], network.tensors[op.output]
    require(len(source.shape) == 3, op.name, "needs an (H, W, C) tensor", source.shape, "3 axes")
    require(min(op.padding) >= 0, op.name, "padding below 0", op.padding, "at least 0")
    top, bottom, left, right = op.padding
    expected = (source.shape[0] + top + bottom, source.shape[1] + left + right, source.channels)
    require(out.shape == expected, op.name, "the output has the wrong shape", out.shape, expected)
    require(source.same_quantizer(out), op.name, "padding keeps its quantizer", out, source)


RULES: dict[type[Op], Callable[[Network, Op], None]] = {
    Conv: _conv,
    Linear: _linear,
    Add: _add,
    Concat: _concat,
    AvgPool: _avg_pool,
    MaxPool: _max_pool,
    Reshape: _reshape,
    Requantize: _requantize,
    Pad: _pad,
}
