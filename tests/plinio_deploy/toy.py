# SPDX-License-Identifier: Apache-2.0
"""A small network that uses every op once, in both flavours: the subject of the core's tests."""

from __future__ import annotations

import dataclasses

import numpy as np

from plinio_deploy import fixedpoint
from plinio_deploy.network import (
    Add,
    AddRescale,
    AvgPool,
    Concat,
    Conv,
    Flavour,
    Hi32,
    Linear,
    MaxPool,
    Network,
    Op,
    Pad,
    Requant,
    Requantize,
    Reshape,
    Tensor,
    Tflite,
    TfliteAdd,
    Weights,
)


def requant(flavour: Flavour, scales: list[float], clamp: tuple[int, int]) -> tuple[Requant, np.ndarray]:
    """A requantization for small sums, and the rounding half to add to the bias."""
    real = np.array(scales)
    if flavour == "hi32":
        chosen = fixedpoint.choose_hi32(real, 40_000)
        return Hi32(chosen.multiplier, chosen.shift, clamp), chosen.half.astype(np.int32)
    multiplier, shift = fixedpoint.choose_tflite(real)
    return Tflite(multiplier, shift, True, clamp), np.zeros(len(scales), dtype=np.int32)


def toy(flavour: Flavour = "hi32") -> Network:
    """Input (4, 5, 2) u8, then pad, conv of 8 and 4 bits, max pool, add, concat, average pool, requantize, linear."""
    rng = np.random.default_rng(7)
    tensors = [
        Tensor("x", (4, 5, 2), 8, False, 0.5, 3),
        Tensor("padded", (6, 7, 2), 8, False, 0.5, 3),
        Tensor("features", (4, 5, 3), 8, True, 0.25, -1),
        Tensor("pooled", (4, 5, 3), 8, True, 0.25, -1),
        Tensor("total", (4, 5, 3), 8, True, 0.25, -1),
        Tensor("joined", (4, 5, 6), 8, True, 0.25, -1),
        Tensor("mean", (2, 2, 6), 8, True, 0.25, -1),
        Tensor("coarse", (2, 2, 6), 4, False, 0.5, 2),
        Tensor("flat", (24,), 4, False, 0.5, 2),
        Tensor("logits", (4,), 8, True, 1.0, 0),
    ]
    codes = rng.integers(-8, 8, (3, 3, 3, 2)).astype(np.int8)
    conv_requant, conv_half = requant(flavour, [0.01, 0.02, 0.015], (-128, 127))
    mean_requant, mean_half = requant(flavour, [0.25], (-128, 127))
    coarse_requant, coarse_half = requant(flavour, [0.5], (0, 15))
    linear_requant, linear_half = requant(flavour, [0.05] * 4, (-128, 127))
    if flavour == "hi32":
        chosen = fixedpoint.choose_add((0.25, 0.25), (-1, -1), ((-128, 127), (-128, 127)), 0.25, -1)
        rescale: AddRescale | TfliteAdd = AddRescale(chosen.multipliers, chosen.shift, chosen.offset, (-128, 127))
    else:
        rescale = TfliteAdd(20, (2**30, 2**30, 2**30), (0, 0, -18), True, (-128, 127))
        mean_requant = Tflite(np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.int32), True, (-128, 127))
    ops: tuple[Op, ...] = (
        Pad("border", "x", "padded", (1, 1, 1, 1)),
        Conv("stem", "padded", "features", Weights(codes, (8, 4, 4)), conv_half + 5, conv_requant),
        MaxPool("peak", "features", "pooled", (3, 3), (1, 1), (1, 1, 1, 1)),
        Add("sum", ("features", "pooled"), "total", rescale),
        Concat("join", ("total", "features"), "joined", 2),
        AvgPool("average", "joined", "mean", (2, 2), int(mean_half[0]), mean_requant, (2, 3)),
        Requantize("narrow", "mean", "coarse", int(coarse_half[0]) + 1, coarse_requant),
        Reshape("flatten", "coarse", "flat"),
        Linear(
            "head",
            "flat",
            "logits",
            Weights(rng.integers(-2, 2, (4, 24)).astype(np.int8), (2, 2, 2, 2)),
            linear_half,
            linear_requant,
        ),
    )
    return Network("toy", flavour, ("x",), ("logits",), {tensor.name: tensor for tensor in tensors}, ops)


def with_op(network: Network, name: str, /, **changes: object) -> Network:
    """The network with fields of one op replaced."""
    ops = tuple(dataclasses.replace(op, **changes) if op.name == name else op for op in network.ops)  # type: ignore[arg-type]
    return dataclasses.replace(network, ops=ops)


def with_tensor(network: Network, name: str, /, **changes: object) -> Network:
    """The network with fields of one tensor replaced."""
    tensors = dict(network.tensors)
    tensors[name] = dataclasses.replace(tensors[name], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(network, tensors=tensors)
