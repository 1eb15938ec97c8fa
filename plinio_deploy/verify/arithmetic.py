# SPDX-License-Identifier: Apache-2.0
"""The proof that no input can overflow an accumulator, and the rules of requantization."""

from __future__ import annotations

import numpy as np

from plinio_deploy import fixedpoint
from plinio_deploy.fixedpoint import INT32_MAX, INT32_MIN
from plinio_deploy.network import Conv, Hi32, Linear, Network, Requant, Tensor, Tflite
from plinio_deploy.verify.rules import require
from plinio_deploy.verify.structure import BIT_WIDTHS, NAME


def check_clamp(where: str, clamp: tuple[int, int], out: Tensor) -> None:
    """A clamp lies within the output's codes."""
    low, high = clamp
    good = out.qmin <= low <= high <= out.qmax
    require(good, where, "a clamp leaves the output's range", clamp, (out.qmin, out.qmax))


def check_requant(network: Network, where: str, requant: Requant, channels: int, out: Tensor) -> None:
    """A requantization is of the network's flavour, one per channel or one for all, and in range."""
    flavour = "hi32" if isinstance(requant, Hi32) else "tflite"
    require(flavour == network.flavour, where, "a requantization of the other flavour", flavour, network.flavour)
    check_clamp(where, requant.clamp, out)
    multiplier = requant.multiplier
    require(multiplier.dtype == np.int32, where, "multipliers are not int32", multiplier.dtype, "int32")
    require(
        multiplier.shape in ((channels,), (1,)), where, "wrong number of multipliers", multiplier.shape, (channels,)
    )
    if isinstance(requant, Tflite):
        require(requant.shift.dtype == np.int32, where, "shifts are not int32", requant.shift.dtype, "int32")
        require(
            requant.shift.shape == multiplier.shape, where, "shifts do not match", requant.shift.shape, multiplier.shape
        )
        in_range = bool(np.all((requant.shift >= -31) & (requant.shift <= 30)))
        require(in_range, where, "a shift is out of range", requant.shift.tolist(), "-31 to 30")
        require(bool(np.all(multiplier >= 0)), where, "a negative multiplier", multiplier.tolist(), "0 to 2^31 - 1")
        return
    require(bool(np.all(multiplier > 0)), where, "a multiplier is not positive", multiplier.tolist(), "1 to 2^31 - 1")
    require(0 <= requant.shift <= 31, where, "a shift is out of range", requant.shift, "0 to 31")


def check_accumulator(where: str, low: int, high: int, bias: tuple[int, int], requant: Requant) -> None:
    """Prove that partial sums and their requantization stay within int32.

    Args:
        where: the op.
        low: least partial sum without the bias.
        high: greatest partial sum without the bias.
        bias: least and greatest bias.
        requant: tells whether the bias is added before or after a shift.
    """
    shift = requant.shift if isinstance(requant, Hi32) else 0
    least = (low << shift) + min(bias[0], 0)
    greatest = (high << shift) + max(bias[1], 0)
    fits = least >= INT32_MIN and greatest <= INT32_MAX
    require(fits, where, "an input can overflow the accumulator", f"{least} to {greatest}", "within int32")
    if isinstance(requant, Tflite):
        left = int(requant.shift.max(initial=0))
        fits = (greatest << max(left, 0)) <= INT32_MAX and (least << max(left, 0)) >= INT32_MIN
        require(fits, where, "an input can overflow the shifted accumulator", f"shift {left}", "within int32")


def check_weights(network: Network, op: Conv | Linear) -> None:
    """Codes fit their channel's width, and no input can overflow any channel's accumulator."""
    weights = op.weights
    where = op.name
    require(weights.codes.dtype == np.int8, where, "weights are not int8", weights.codes.dtype, "int8")
    channels = weights.out_channels
    require(len(weights.bits) == channels, where, "one bit width per channel", len(weights.bits), channels)
    for channel, bits in enumerate(weights.bits):
        require(bits in BIT_WIDTHS, where, f"unknown bit width of channel {channel}", bits, BIT_WIDTHS)
        codes = weights.codes[channel]
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        inside = bool(codes.min() >= low and codes.max() <= high)
        got = f"{codes.min()} to {codes.max()}"
        require(inside, where, f"weights of channel {channel} exceed {bits} bits", got, f"{low} to {high}")
    named = op.accelerators
    require(len(named) in (0, channels), where, "one accelerator per channel, or none", len(named), channels)
    require(all(map(NAME.match, named)), where, "bad name of an accelerator", named, "letters, digits and _")
    require(op.bias.dtype == np.int32, where, "the bias is not int32", op.bias.dtype, "int32")
    require(op.bias.shape == (channels,), where, "wrong number of biases", op.bias.shape, (channels,))
    out = network.tensors[op.output]
    require(out.channels == channels, where, "output channels differ from the weights'", out.channels, channels)
    check_requant(network, where, op.requant, channels, out)
    source = network.tensors[op.input]
    low_sum, high_sum = fixedpoint.accumulator_range(
        weights.codes, np.zeros(channels, dtype=np.int64), (source.qmin, source.qmax)
    )
    for channel in range(channels):
        bias = int(op.bias[channel])
        check_accumulator(
            f"{where}, channel {channel}", int(low_sum[channel]), int(high_sum[channel]), (bias, bias), op.requant
        )
