# SPDX-License-Identifier: Apache-2.0
"""Rules of tensors and of the order of ops."""

from __future__ import annotations

import math
import re

from plinio_deploy.network import Network, Tensor, op_inputs
from plinio_deploy.verify.rules import require

BIT_WIDTHS = (2, 4, 8)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check_tensor(key: str, tensor: Tensor) -> None:
    """A tensor has a usable name, shape, width, scale and zero point."""
    name = tensor.name
    require(key == name, key, "a tensor is filed under another name", key, name)
    require(bool(NAME.match(name)), name, "a tensor's name is no C identifier", name, "letters, digits and _")
    require(len(tensor.shape) in (1, 3), name, "a tensor has neither 1 nor 3 axes", tensor.shape, "(C,) or (H, W, C)")
    require(all(size >= 1 for size in tensor.shape), name, "a tensor is empty", tensor.shape, "extents of at least 1")
    require(tensor.bits in BIT_WIDTHS, name, "unknown bit width", tensor.bits, BIT_WIDTHS)
    good_scale = math.isfinite(tensor.scale) and tensor.scale > 0
    require(good_scale, name, "a scale must be positive and finite", tensor.scale, "> 0")
    inside = tensor.qmin <= tensor.zero_point <= tensor.qmax
    require(inside, name, "the zero point is no code", tensor.zero_point, f"{tensor.qmin} to {tensor.qmax}")


def check_order(network: Network) -> None:
    """Every tensor is written once, before it is read; names are unique; all that is named exists."""
    require(len(network.inputs) > 0, network.name, "a network needs an input", 0, "at least 1")
    require(len(network.outputs) > 0, network.name, "a network needs an output", 0, "at least 1")
    require(
        len(set(network.inputs)) == len(network.inputs), network.name, "an input is named twice", network.inputs, ""
    )
    require(
        len(set(network.outputs)) == len(network.outputs), network.name, "an output is named twice", network.outputs, ""
    )
    for name in (*network.inputs, *network.outputs):
        require(name in network.tensors, network.name, "an input or output is no tensor", name, list(network.tensors))
    known = set(network.inputs)
    seen_ops: set[str] = set()
    for op in network.ops:
        require(bool(NAME.match(op.name)), op.name, "an op's name is no C identifier", op.name, "letters, digits and _")
        require(op.name not in seen_ops, op.name, "two ops have one name", op.name, "unique names")
        seen_ops.add(op.name)
        for name in op_inputs(op):
            require(name in known, op.name, "a tensor is read before it is written", name, sorted(known))
        require(op.output in network.tensors, op.name, "the output is no tensor", op.output, list(network.tensors))
        require(op.output not in known, op.name, "a tensor is written twice", op.output, "one writer")
        known.add(op.output)
    unused = sorted(set(network.tensors) - known)
    require(not unused, network.name, "tensors that no op writes", unused, "none")
    for name in network.outputs:
        require(name not in network.inputs, network.name, "an input cannot be an output", name, "the output of an op")
