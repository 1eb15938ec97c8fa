# SPDX-License-Identifier: Apache-2.0
"""What the plain kernels of layers with weights have in common: their arrays, and the loop over output channels."""

from __future__ import annotations

from collections.abc import Mapping

from plinio_deploy.codegen import pack
from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Conv, Hi32, Int32Array, Linear

MAX_RUNS = 4
"""With more runs of equal width than this, widths are looked up per channel instead of one loop written per run."""


def is_uniform(op: Conv | Linear) -> bool:
    """Whether one loop per run of equal width is written."""
    return len(op.weights.runs()) <= MAX_RUNS


def bias_unit(op: Conv | Linear) -> int | None:
    """In units of what biases are stored as 16 bits, where one multiplier serves all channels; else ``None``."""
    shared = isinstance(op.requant, Hi32) and op.requant.shift == 0 and is_one(op.requant.multiplier)
    return pack.unit_of(op.bias.tolist()) if shared else None


def is_one(values: Int32Array) -> bool:
    """Whether all are equal: then they are no table, but a literal."""
    return len(set(values.tolist())) == 1


def arrays(op: Conv | Linear, order: str) -> tuple[Array, ...]:
    """Weights, biases, and what requantization needs per channel.

    Args:
        op: the layer.
        order: axes of one row of weights, for the comment.
    """
    requant = op.requant
    found = [pack.weight_array(op.weights, order)]
    if not is_uniform(op):
        found.append(Array("_bits", "uint8_t", op.weights.bits, "bits per weight of each output channel"))
    unit, what = bias_unit(op), "bias - zero point * sum of weights, and the rounding half"
    if unit is None:
        found.append(pack.int32_array("_b", op.bias.tolist(), what))
    else:
        told = f"{what}{f', in units of {unit}' if unit > 1 else ''}"
        found.append(Array("_b", "int16_t", tuple(bias // unit for bias in op.bias.tolist()), told))
    if not is_one(requant.multiplier):
        found.append(pack.int32_array("_m", requant.multiplier.tolist(), "requantization multipliers"))
    if not isinstance(requant, Hi32) and not is_one(requant.shift):
        found.append(
            Array("_s", "int8_t", tuple(requant.shift.tolist()), "requantization shifts, positive to the left")
        )
    return tuple(found)


def variables(site: Site, op: Conv | Linear, emitter: Emitter) -> Mapping[str, object]:
    """What ``macros.c.j2`` needs to loop over output channels."""
    widths = sorted(set(op.weights.bits), reverse=True)
    return {
        "uniform": is_uniform(op),
        "runs": pack.runs(op.weights),
        "widths": [(bits, pack.row_bytes(op.weights, bits)) for bits in widths],
        "channels_out": op.weights.out_channels,
        "weights": emitter.array("_w"),
        "weight_bits": emitter.array("_bits"),
        "weight_ctype": "int8_t" if widths == [8] else "uint8_t",
        "requantizer": emitter.channel_requantizer(op.requant, site.output, bias_unit(op) or 1),
    }


def cost(site: Site, per_mac: float) -> float:
    """Estimated instructions of a plain kernel: work per MAC, and about 20 per output for requantization and loops.

    A code that has to be unpacked costs a shift, a mask and its share of the index arithmetic.
    """
    op = site.op
    assert isinstance(op, Conv | Linear)
    packed = sum(bits < 8 for bits in op.weights.bits) / op.weights.out_channels
    unpacking = 5.0 * packed + (5.0 if site.inputs[0].bits < 8 else 0.0)
    return site.macs * (per_mac + unpacking) + 20.0 * site.output.elements
