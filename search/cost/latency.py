# SPDX-License-Identifier: Apache-2.0
"""Cycles and energy on a target, from its calibrated table (`plinio_deploy.targets.luts`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.layer import (
    CONVOLUTIONS,
    TRANSPOSED,
    Layer,
    conv,
    conv_transpose,
    input_bits,
    linear,
    one_of,
    seen_as,
    weight_bits,
)
from plinio_deploy.search.cost.rounding import value
from plinio_deploy.search.cost.slopes import Sloped, SlopedFormula
from plinio_deploy.search.cost.spec import Add, Copy, CostSpec, Mul, Pool, Requantize, Spec
from plinio_deploy.targets.calibration.geometry import Geometry, OpName, conv_name, inside_fraction
from plinio_deploy.targets.calibration.power import POWER
from plinio_deploy.targets.luts import Lut, load

_OPS: Mapping[type, OpName] = {Add: "add", Mul: "mul", Pool: "pool", Requantize: "requantize", Copy: "copy"}

_JOULE_PER_CYCLE = 1e-9
"""1 mW/MHz is 1e-3 J/s at 1e6 cycles/s."""


def latency(target: str) -> CostSpec:
    """Cycles (or instructions, where the table says so) of one inference on a target.

    Args:
        target: name of a target with a table.

    Raises:
        UnknownTarget: there is no such target.
        UsageError: it has no table; the hint names the command that makes one.
        InvalidTargetFile: its table is damaged.
    """
    table = load(target)
    return from_table(table, unit="cycle" if table.unit == "cycles" else "")


def energy(target: str) -> CostSpec:
    """Joules of one inference on a target: cycles times milliwatts per megahertz.

    The table's own figure, or else that of a chip with the target's core (`plinio_deploy.targets.calibration.power`).

    Raises:
        UsageError: as for `latency`, or the table predicts no cycles, or no figure for its power is published.
    """
    table = load(target)
    published = POWER.get(target)
    per_mhz = table.milliwatt_per_mhz
    if per_mhz is None and published is not None:
        per_mhz = published.milliwatt_per_mhz
    if per_mhz is None or table.unit != "cycles":
        raise UsageError(
            f"the cost table of {target} cannot give energy",
            got=f"unit {table.unit}, {per_mhz} mW/MHz",
            expected="cycles, and a published figure of power",
            hints=[
                f"Search on cost.latency({target!r}) instead.",
                "Or measure your board: milliwatt_per_mhz in a copy of the table under PLINIO_DEPLOY_TARGETS/luts.",
            ],
        )
    return from_table(table, scale=per_mhz * _JOULE_PER_CYCLE, unit="J")


def from_table(table: Lut, scale: float = 1.0, unit: str = "") -> CostSpec:
    """The cost that a table stands for, times ``scale``, in a unit (see `CostSpec`)."""
    cost = CostSpec(shared=False, unit=unit)
    for kind in CONVOLUTIONS:
        cost[kind] = SlopedFormula(seen_as(conv, partial(_searched, table, None, scale)))
    for transposed in TRANSPOSED:
        cost[transposed] = SlopedFormula(seen_as(conv_transpose, partial(_searched, table, "conv_transpose", scale)))
    cost[nn.Linear] = SlopedFormula(seen_as(linear, partial(_searched, table, "linear", scale)))
    for op, name in _OPS.items():
        cost[op] = SlopedFormula(partial(_plain, table, name, scale))
    return cost


def _searched(table: Lut, op: OpName | None, scale: float, layer: Layer, spec: Spec) -> Sloped:
    bits = one_of("weight width", weight_bits(spec), (0, 2, 4, 8))
    cin, cout = value(layer.cin), value(layer.cout)
    if bits == 0 or cout <= 0 or cin <= 0:
        return Sloped(0.0)
    everything = spec.get("all_channels")
    total = cout if everything is None else value(everything)
    kernel = [value(size) for size in layer.kernel]
    at = Geometry(
        op=op or _conv_name(spec),
        w_bits=bits,
        a_bits=_a_bits(spec),
        cin=cin,
        cout=cout,
        share=cout / total,
        groups=cin if layer.depthwise else layer.groups,
        kernel=_two(kernel),
        **_window(spec),
        out_bits=_out_bits(spec),
    )
    cost, by = table.slopes(at)
    # What is spent between layers, once for each: by a layer's parts together.
    of_share = by.get("share", 0.0) + table.call
    of_cout = by.get("cout", 0.0) + (0.0 if everything is None else of_share / total)
    slopes = [(layer.cin, by.get("cin", 0.0)), (layer.cout, of_cout)]
    if everything is not None:
        slopes.append((everything, -of_share * cout / total**2))
    for axis, size in enumerate(layer.kernel):
        name, whole = ("width", kernel[-1]) if axis == len(kernel) - 1 else ("height", at.kernel[0])
        slopes.append((size, by.get(name, 0.0) * whole / kernel[axis]))
    return _scaled(scale, cost + table.call * at.share, slopes)


def _plain(table: Lut, op: OpName, scale: float, spec: Spec) -> Sloped:
    elements: Number = spec["elements"]
    if value(elements) <= 0:
        return Sloped(0.0)
    window = _window(spec)
    operands = int(spec.get("inputs", 1))
    channels = value(elements) / math.prod(window["output"])
    read = operands if op == "copy" else 1
    at = Geometry(
        op="max_pool" if op == "pool" and spec.get("maximum") else op,
        w_bits=None,
        a_bits=_a_bits(spec),
        cin=channels / read,
        cout=channels,
        operands=operands,
        kernel=_two(list(spec.get("kernel_size", ()))),
        **window,
        out_bits=_out_bits(spec),
    )
    cost, by = table.slopes(at)
    slope = (by.get("cin", 0.0) / read + by.get("cout", 0.0)) * channels / value(elements)
    return _scaled(scale, cost + table.call, [(elements, slope)])


def _scaled(scale: float, cost: float, slopes: Sequence[tuple[Number, float]]) -> Sloped:
    return Sloped(scale * cost, tuple((x, scale * slope) for x, slope in slopes if isinstance(x, Tensor)))


def _a_bits(spec: Spec) -> int:
    return one_of("activation width", input_bits(spec), (2, 4, 8))


def _out_bits(spec: Spec) -> int | None:
    if "out_precision" not in spec:
        return None
    # A mixture: how its codes are stored is a small part of the cost, so the nearest width will do.
    expected = value(spec["out_precision"])
    return min((2, 4, 8), key=lambda bits: abs(bits - expected))


def _conv_name(spec: Spec) -> OpName:
    """The kind of a convolution, decided on the layer as it was built."""
    static = spec.get("static", spec)
    groups = int(static["groups"])
    kernel = tuple(float(size) for size in static["kernel_size"])
    return conv_name(kernel, groups, depthwise=1 < groups == int(static["in_channels"]))


def _window(spec: Spec) -> Mapping[str, Any]:
    """Axes as a table counts them: two of them, the first of length 1 where there is one, or none in a vector.

    More than two axes are taken as two: all but the last are one.
    """
    if "in_features" in spec:
        positions = math.prod(int(size) for size in spec["output_shape"][1:-1])
        return {"source": (positions, 1), "output": (positions, 1)}
    static = spec.get("static", spec)
    built = (_hashable(static.get(name, default)) for name, default in _BUILT)
    return _built_window(tuple(spec["input_shape"][2:]), tuple(spec["output_shape"][2:]), *built)


_BUILT = (("kernel_size", ()), ("stride", 1), ("padding", 0), ("dilation", 1))


def _hashable(setting: Any) -> Any:
    return tuple(setting) if isinstance(setting, list) else setting


@lru_cache(maxsize=4096)
def _built_window(
    source_shape: tuple[int, ...], output_shape: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any
) -> Mapping[str, Any]:
    """Of a layer as it was built: the same in every step of a search."""
    source, output = (_two([int(size) for size in shape]) for shape in (source_shape, output_shape))
    axes = len(source_shape)
    built = _two(_axes(kernel, axes))
    strides = _two(_axes(stride, axes))
    dilations = _two(_axes(dilation, axes))
    before = [_before(padding, i, axes, built[i], dilations[i]) for i in range(2)]
    inside = [
        inside_fraction(source[i], output[i], built[i], strides[i], before[i], dilations[i]) or 1.0 for i in range(2)
    ]
    return {
        "stride": strides,
        "source": source,
        "output": output,
        "before": (before[0], before[1]),
        "inside": (inside[0], inside[1]),
    }


def _two(sizes: Sequence[Any]) -> tuple[Any, Any]:
    """Two axes out of any number."""
    first: Any = 1
    for size in sizes[:-1]:
        first = first * size
    return first, sizes[-1] if sizes else 1


def _axes(setting: Any, count: int) -> list[int]:
    """One number per axis out of a module's setting; None stands for the kernel's size and is not needed then."""
    if isinstance(setting, tuple | list):
        return [int(size) for size in setting]
    return [int(setting) if isinstance(setting, int) else 1] * count


def _before(padding: Any, axis: int, axes: int, kernel: int, dilation: int) -> int:
    """Elements added before the input along one of two axes."""
    if padding == "same":
        return dilation * (kernel - 1) // 2
    if isinstance(padding, str):
        return 0
    numbers = _axes(padding, axes)
    if axes == 1:
        return numbers[0] if axis == 1 else 0
    return numbers[min(axis, len(numbers) - 1)] if numbers else 0
