# SPDX-License-Identifier: Apache-2.0
"""Layers whose channels belong to several accelerators, cut into one op per accelerator."""

from __future__ import annotations

import dataclasses

from plinio_deploy.network import Concat, Conv, Linear, Network, Op, Requant, Tensor, Tflite, Weights, runs_of
from plinio_deploy.quantization.capture import free_name
from plinio_deploy.verify import verify


def split(network: Network) -> Network:
    """The same network with an op of its own for each run of channels of one accelerator, and a concat after them.

    Codes stay what they are; an op's assignment then names one accelerator. For tools that give each accelerator whole
    layers: on one core it only costs the memory of the concat. Convolutions with groups stay whole, as each part would
    need channels cut out of their input; their assignment still says what belongs where.

    Args:
        network: verified.

    Returns:
        A verified network. Channels of one accelerator that do not lie together become several ops.
    """
    tensors, ops = dict(network.tensors), list[Op]()
    taken = {*tensors, *(op.name for op in network.ops)}
    for op in network.ops:
        if not isinstance(op, Conv | Linear) or (isinstance(op, Conv) and op.groups > 1):
            ops.append(op)
            continue
        runs = runs_of(op.accelerators)
        if len(runs) < 2:
            ops.append(op)
            continue
        parts = []
        whole = tensors[op.output]
        for accelerator, first, count in runs:
            name = free_name(f"{op.name}_{accelerator}", taken)
            taken.add(name)
            part = dataclasses.replace(whole, name=name, shape=(*whole.shape[:-1], count))
            tensors[name] = part
            parts.append(name)
            ops.append(_channels(op, part, first, count))
        joined = free_name(f"{op.name}_joined", taken)
        taken.add(joined)
        ops.append(Concat(joined, tuple(parts), op.output, len(whole.shape) - 1))
    return verify(dataclasses.replace(network, tensors=tensors, ops=tuple(ops)))


def _channels(op: Conv | Linear, out: Tensor, first: int, count: int) -> Conv | Linear:
    """Some output channels of an op."""
    own = slice(first, first + count)
    return dataclasses.replace(
        op,
        name=out.name,
        output=out.name,
        weights=Weights(op.weights.codes[own], op.weights.bits[own]),
        bias=op.bias[own],
        requant=_requant(op.requant, own),
        accelerators=op.accelerators[own],
    )


def _requant(requant: Requant, own: slice) -> Requant:
    if len(requant.multiplier) == 1:
        return requant
    if isinstance(requant, Tflite):
        return dataclasses.replace(requant, multiplier=requant.multiplier[own], shift=requant.shift[own])
    return dataclasses.replace(requant, multiplier=requant.multiplier[own])
