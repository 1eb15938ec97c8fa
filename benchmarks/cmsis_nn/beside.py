# SPDX-License-Identifier: Apache-2.0
"""CMSIS-NN's layers beside ours: which of them is which op of a network, by shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cmsis_nn.compare import NO_S4, Figures, Layer, networks

from plinio_deploy.network import Add, AvgPool, Conv, Linear, Network, Op, op_inputs

Shape = tuple[str | int, ...]
"""A layer without its padding: the reference models pad "same" as TensorFlow does, ours as much on either side."""


def shape(layer: Layer) -> Shape:
    """What tells layers apart."""
    sizes = (layer.in_h, layer.in_w, layer.in_c, layer.kernel_h, layer.kernel_w, layer.stride, layer.out_c)
    return layer.op, *sizes


def shape_of(network: Network, op: Op) -> Shape | None:
    """The same of an op; `None` if it is of no kind that the bench of CMSIS-NN has."""
    before = network.tensors[op_inputs(op)[0]].shape
    if isinstance(op, Conv):
        outputs, height, width, _ = op.weights.codes.shape
        depthwise = op.groups > 1 and op.groups == before[2]
        return "OP_DEPTHWISE" if depthwise else "OP_CONV", *before, height, width, op.stride[0], outputs
    if isinstance(op, Linear):
        outputs, inputs = op.weights.codes.shape
        return "OP_LINEAR", 1, 1, inputs, 1, 1, 1, outputs
    if isinstance(op, Add):
        return "OP_ADD", *before, 1, 1, 1, before[2]
    if isinstance(op, AvgPool):
        return "OP_POOL", *before, *op.kernel, op.stride[0] if op.kernel != before[:2] else 1, before[2]
    return None


def positions(network: Network, layers: Sequence[Layer]) -> dict[str, int]:
    """Which layer each op is, by the op's name; ops without one are not in it."""
    free: dict[Shape, list[int]] = {}
    for index, layer in enumerate(layers):
        free.setdefault(shape(layer), []).append(index)
    found = {}
    for op in network.ops:
        key = shape_of(network, op)
        if key is not None and free.get(key):
            found[op.name] = free[key].pop(0)
    return found


def owners(network: Network, steps: Collection[str]) -> dict[str, str]:
    """The step that executes each op: one of its name, or the one that reads what it writes."""
    found: dict[str, str] = {}
    for op in reversed(network.ops):
        readers = [found[other.name] for other in network.consumers(op.output) if other.name in found]
        if op.name in steps:
            found[op.name] = op.name
        elif readers:
            found[op.name] = readers[0]
    return found


def by_layer(
    network: Network, ours: Sequence[Mapping[str, str | int | None]], figures: Figures, *, narrow: bool
) -> list[dict[str, str | int | None]]:
    """Our layers with what CMSIS-NN takes for each: `None` where its bench has no such layer.

    Args:
        network: ours, with the name of one of `networks`.
        ours: rows with the `name` of each step; one that executes several ops stands beside the sum of their layers.
        figures: the library's, of its network.
        narrow: whether these are of its kernels for 4-bit weights.
    """
    layers = networks()[network.name]
    owner = owners(network, {str(row["name"]) for row in ours})
    found: dict[str, list[int]] = {}
    for name, index in positions(network, layers).items():
        found.setdefault(owner.get(name, name), []).append(index)
    rows = []
    for row in ours:
        indices = sorted(found.get(str(row["name"]), ()))
        counts = [figures.layers[index] for index in indices]
        cycles = [count for _, count in counts if count is not None]
        widths = sorted({"s4" if narrow and layers[index].op not in NO_S4 else "s8" for index in indices})
        rows.append(
            {
                **row,
                "cmsis_nn_instructions": sum(count for count, _ in counts) if counts else None,
                "cmsis_nn_cycles": sum(cycles) if cycles and len(cycles) == len(counts) else None,
                "cmsis_nn_kernel": "+".join(widths) or None,
            }
        )
    return rows
