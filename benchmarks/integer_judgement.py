# SPDX-License-Identifier: Apache-2.0
"""What an integer network is worth: its accuracy, its size, and the widths of its weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pareto_course import Course

from plinio_deploy import host, interpreter
from plinio_deploy.integerize.exact import ExactNetwork
from plinio_deploy.network import Conv, Linear, Network

INTERPRETED = 64
"""Images that the reference interpreter runs too; all others go through its equal in torch."""


def integer_accuracy(network: Network, course: Course) -> float:
    """Percent of the test images that the integer network gets right.

    Raises:
        SystemExit: torch's executor and the reference interpreter differ.
    """
    (source,), (target,) = network.input_tensors(), network.output_tensors()
    codes = host.quantize(source, host.nchw_to_nhwc(course.test.x, source.shape))
    exact = ExactNetwork(network)
    outputs = np.concatenate([exact.trace(torch.from_numpy(part))[target.name].numpy() for part in _parts(codes, 256)])
    reference = interpreter.run(network, [codes[:INTERPRETED]])[target.name]
    if not np.array_equal(reference, outputs[: len(reference)]):
        sys.exit("the interpreter and its equal in torch differ")
    return 100.0 * float(np.mean(outputs.reshape(len(outputs), -1).argmax(1) == course.test.y))


def _parts(array: Any, size: int) -> Sequence[Any]:
    return [array[start : start + size] for start in range(0, len(array), size)]


def weights_bytes(network: Network) -> int:
    """Packed weights, without biases and multipliers: what ``params_bit`` counts."""
    bits = 0
    for op in network.ops:
        if isinstance(op, Conv | Linear):
            per_channel = op.weights.codes[0].size
            bits += sum(op.weights.bits) * per_channel
    return bits // 8


def widths(network: Network, channels: int | None) -> dict[str, int]:
    """Output channels per width; those missing from ``channels``, where the layers are the seed's, have 0 bits."""
    found: dict[str, int] = {}
    for op in network.ops:
        if isinstance(op, Conv | Linear):
            for bits in op.weights.bits:
                found[str(bits)] = found.get(str(bits), 0) + 1
    return found if channels is None else {"0": channels - sum(found.values()), **found}
