# SPDX-License-Identifier: Apache-2.0
"""The reference: what an integer network computes, in numpy. Everything else is compared with this.

Dot products are taken in float64, whose integers are exact up to 2^53: `verify` proves that every partial sum stays
within int32, so no rounding can occur, and BLAS makes it fast. Each result is checked against int32 all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from plinio_deploy import fixedpoint
from plinio_deploy.errors import UsageError
from plinio_deploy.fixedpoint import Int64Array
from plinio_deploy.network import (
    Add,
    AddRescale,
    AvgPool,
    Concat,
    Conv,
    Hi32,
    Linear,
    MaxPool,
    Network,
    Op,
    Pad,
    Padding,
    Requant,
    Requantize,
    Reshape,
    Tensor,
    op_inputs,
)
from plinio_deploy.packing import CodeArray

CHUNK = 64
"""Samples that are run at a time: bounds the memory that the windows of a convolution take."""


def run(
    network: Network, inputs: Sequence[npt.NDArray[np.integer[Any]]], keep: Collection[str] | None = None
) -> dict[str, CodeArray]:
    """Run a batch through a network.

    Args:
        network: a verified network.
        inputs: one array of codes per network input, ``(N, *shape)``.
        keep: names of the tensors wanted; all of them if ``None``.

    Returns:
        The codes of each wanted tensor by name, ``(N, *shape)``, int32.

    Raises:
        UsageError: an input has the wrong shape or a code out of range.
    """
    if len(inputs) != len(network.inputs):
        raise UsageError("wrong number of inputs", got=len(inputs), expected=len(network.inputs))
    for tensor, codes in zip(network.input_tensors(), inputs, strict=True):
        _check_input(tensor, codes)
    wanted = [name for name in network.tensors if keep is None or name in keep]
    samples = len(inputs[0])
    chunks = [
        _run_chunk(network, [codes[first : first + CHUNK] for codes in inputs], wanted)
        for first in range(0, max(samples, 1), CHUNK)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in wanted}


def _run_chunk(
    network: Network, inputs: Sequence[npt.NDArray[np.integer[Any]]], wanted: Sequence[str]
) -> dict[str, CodeArray]:
    values: dict[str, Int64Array] = {}
    for name, codes in zip(network.inputs, inputs, strict=True):
        values[name] = codes.astype(np.int64)
    for op in network.ops:
        values[op.output] = run_op(network, op, [values[name] for name in op_inputs(op)])
    return {name: values[name].astype(np.int32) for name in wanted}


def run_op(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    """Codes of one op's output from those of its inputs, ``(N, *shape)`` int64."""
    return _OPS[type(op)](network, op, operands)


def _check_input(tensor: Tensor, codes: npt.NDArray[np.integer[Any]]) -> None:
    if codes.shape[1:] != tensor.shape:
        raise UsageError("an input has the wrong shape", where=tensor.name, got=codes.shape[1:], expected=tensor.shape)
    if codes.size and (codes.min() < tensor.qmin or codes.max() > tensor.qmax):
        raise UsageError(
            "an input holds a code out of range",
            where=tensor.name,
            got=f"{codes.min()} to {codes.max()}",
            expected=f"{tensor.qmin} to {tensor.qmax}",
        )


def _int32(values: npt.NDArray[Any], op: Op) -> Int64Array:
    """As int64, after a check that the verifier's proof holds."""
    if values.size and (values.min() < fixedpoint.INT32_MIN or values.max() > fixedpoint.INT32_MAX):
        raise OverflowError(f"{op.name}: an accumulator left int32; the network was not verified")
    return values.astype(np.int64)


def _requantize(op: Conv | Linear | AvgPool | Requantize, total: Int64Array, out: Tensor) -> Int64Array:
    requant: Requant = op.requant
    bias = np.asarray(op.bias, dtype=np.int64)
    low, high = requant.clamp
    multiplier = requant.multiplier.astype(np.int64)
    if isinstance(requant, Hi32):
        _int32((total << requant.shift) + bias, op)
        return fixedpoint.requantize_hi32(total, bias, multiplier, requant.shift, out.zero_point, low, high)
    accumulator = _int32(total + bias, op)
    return fixedpoint.requantize_tflite(
        accumulator,
        multiplier,
        requant.shift.astype(np.int64),
        out.zero_point,
        low,
        high,
        double_rounding=requant.double_rounding,
    )


def _padded(codes: Int64Array, padding: Padding, value: int) -> Int64Array:
    top, bottom, left, right = padding
    return np.pad(codes, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _windows(
    codes: Int64Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> Int64Array:
    """``(N, H', W', C, K_h, K_w)`` windows of a padded ``(N, H, W, C)``."""
    extent = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True))
    view = sliding_window_view(codes, extent, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def _conv(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, Conv)
    zero_point = network.tensors[op.input].zero_point
    windows = _windows(_padded(operands[0], op.padding, zero_point), op.kernel, op.stride, op.dilation)
    batch, height, width = windows.shape[:3]
    channels_out, _, _, group_in = op.weights.codes.shape
    group_out = channels_out // op.groups
    # (N H' W', groups, C/groups, Kh, Kw) -> per group a matrix product with (C'/groups, Kh, Kw, C/groups)
    patches = windows.reshape(batch * height * width, op.groups, group_in, *op.kernel)
    patches = patches.transpose(1, 0, 3, 4, 2).reshape(op.groups, batch * height * width, -1).astype(np.float64)
    weights = op.weights.codes.astype(np.float64).reshape(op.groups, group_out, -1)
    total = np.matmul(patches, weights.transpose(0, 2, 1)).transpose(1, 0, 2)
    total = total.reshape(batch, height, width, channels_out)
    return _requantize(op, _int32(total, op), network.tensors[op.output])


def _linear(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, Linear)
    total = operands[0].astype(np.float64) @ op.weights.codes.astype(np.float64).T
    return _requantize(op, _int32(total, op), network.tensors[op.output])


def _add(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, Add)
    first, second = operands
    rescale = op.rescale
    low, high = rescale.clamp
    if isinstance(rescale, AddRescale):
        return fixedpoint.add_rescaled(first, second, rescale.multipliers, rescale.shift, rescale.offset, low, high)
    names = (*op.inputs, op.output)
    zero_points = (
        network.tensors[names[0]].zero_point,
        network.tensors[names[1]].zero_point,
        network.tensors[names[2]].zero_point,
    )
    return fixedpoint.add_tflite(
        first,
        second,
        zero_points,
        rescale.left_shift,
        rescale.multipliers,
        rescale.shifts,
        low,
        high,
        double_rounding=rescale.double_rounding,
    )


def _concat(_: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, Concat)
    return np.concatenate(operands, axis=op.axis + 1)


def _avg_pool(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, AvgPool)
    if isinstance(op.requant, Hi32):
        zero_point = network.tensors[op.input].zero_point
        windows = _windows(_padded(operands[0], op.padding, zero_point), op.kernel, op.stride, (1, 1))
        return _requantize(op, windows.sum(axis=(-2, -1)), network.tensors[op.output])
    total = _windows(_padded(operands[0], op.padding, 0), op.kernel, op.stride, (1, 1)).sum(axis=(-2, -1))
    inside = _padded(np.ones_like(operands[0]), op.padding, 0)
    count = _windows(inside, op.kernel, op.stride, (1, 1)).sum(axis=(-2, -1))
    return fixedpoint.average_tflite(total, count, *op.requant.clamp)


def _max_pool(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, MaxPool)
    least = network.tensors[op.input].qmin
    windows = _windows(_padded(operands[0], op.padding, least), op.kernel, op.stride, op.dilation)
    greatest: Int64Array = windows.max(axis=(-2, -1))
    return greatest


def _reshape(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    return operands[0].reshape(operands[0].shape[0], *network.tensors[op.output].shape)


def _requantize_op(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, Requantize)
    return _requantize(op, operands[0], network.tensors[op.output])


def _pad(network: Network, op: Op, operands: Sequence[Int64Array]) -> Int64Array:
    assert isinstance(op, Pad)
    return _padded(operands[0], op.padding, network.tensors[op.input].zero_point)


_OPS: dict[type[Op], Callable[[Network, Op, Sequence[Int64Array]], Int64Array]] = {
    Conv: _conv,
    Linear: _linear,
    Add: _add,
    Concat: _concat,
    AvgPool: _avg_pool,
    MaxPool: _max_pool,
    Reshape: _reshape,
    Requantize: _requantize_op,
    Pad: _pad,
}
