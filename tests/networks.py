# SPDX-License-Identifier: Apache-2.0
"""Integer networks for tests: some fixed ones here, the builder and the random ones imported; inputs and references."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from plinio_deploy.interpreter import run
from plinio_deploy.network import Flavour, Network
from plinio_deploy.packing import pack
from tests.network_builder import Builder, Quantizer
from tests.random_networks import random_network

__all__ = [
    "NETWORKS",
    "Builder",
    "Quantizer",
    "digits_cnn",
    "packed_rows",
    "packed_samples",
    "random_inputs",
    "random_network",
    "reference",
    "residual",
    "tcn",
]


def digits_cnn(flavour: Flavour = "hi32") -> Network:
    """A plain chain on 8 x 8 images: mixed widths, max pool, flatten, two linear layers."""
    b = Builder(1, flavour, "digits_cnn")
    x = b.input((8, 8, 1), (8, False, 1 / 16, 0))
    u8, u4 = (8, False, 0.02, 0), (4, False, 0.3, 0)
    x = b.conv(x, 8, padding=(1, 1, 1, 1), out=u8, relu=True)
    x = b.conv(x, 12, padding=(1, 1, 1, 1), w_bits=(8, 8, 8, 8, 4, 4, 4, 4, 2, 2, 2, 2), out=u4, relu=True)
    x = b.max_pool(x, (2, 2), (2, 2))
    x = b.conv(x, 16, padding=(1, 1, 1, 1), w_bits=(4,), out=u8, relu=True)
    x = b.linear(b.flatten(b.max_pool(x, (2, 2), (2, 2))), 20, w_bits=(2,), out=u8, relu=True)
    return b.build(b.linear(x, 10, out=(8, True, 0.1, 3)))


def residual(flavour: Flavour = "hi32") -> Network:
    """Residual add, depthwise, concat, global average pool; signed and unsigned codes with zero points."""
    b = Builder(2, flavour, "residual")
    q, s = (8, False, 0.03, 0), (8, True, 0.04, -7)
    x = b.conv(b.input((10, 10, 3), (8, True, 0.0078125, -1)), 8, padding=(1, 1, 1, 1), out=q, relu=True)
    y = b.conv(x, 8, padding=(1, 1, 1, 1), groups=8, out=s)
    y = b.conv(y, 8, (1, 1), w_bits=(4,), out=s)
    x = b.add(x, y, q, relu=True)
    left = b.conv(x, 6, stride=(2, 2), padding=(0, 1, 0, 1), out=s)
    right = b.conv(b.conv(x, 8, stride=(2, 2), padding=(0, 1, 0, 1), groups=8, out=s), 4, (1, 1), out=s)
    x = b.requantize(b.concat((left, right), 2), q, relu=True)
    x = b.avg_pool(x, (5, 5), out=(8, False, 0.02, 0))
    return b.build(b.linear(b.flatten(x), 10, out=(8, True, 0.1, 0)))


def tcn(flavour: Flavour = "hi32") -> Network:
    """1-D temporal convolutions: causal padding, dilation, a residual add."""
    b = Builder(3, flavour, "tcn")
    u8, u4 = (8, False, 0.03, 0), (4, False, 0.3, 0)
    x = b.input((1, 40, 6), (8, True, 0.05, 11))
    x = b.conv(x, 10, (1, 3), padding=(0, 0, 2, 0), out=u8, relu=True)
    y = b.conv(x, 10, (1, 3), padding=(0, 0, 4, 0), dilation=(1, 2), w_bits=(4,), out=u4, relu=True)
    y = b.conv(y, 10, (1, 3), padding=(0, 0, 8, 0), dilation=(1, 4), w_bits=(8, 2), out=u8, relu=True)
    x = b.add(x, y, u8, relu=True)
    x = b.avg_pool(b.max_pool(x, (1, 4), (1, 4)), (1, 10))
    return b.build(b.linear(b.flatten(x), 5))


def packed_rows(flavour: Flavour = "hi32") -> Network:
    """Sub-byte tensors whose rows end within a byte, through every op that has to care; two inputs, three outputs."""
    b = Builder(4, flavour, "packed_rows")
    u4, s2 = (4, False, 0.3, 5), (2, True, 0.5, -1)
    x, y = b.input((5, 4, 3), u4), b.input((5, 4, 5), u4)
    z = b.concat((x, y, x), 2)
    z = b.pad(z, (1, 0, 2, 1))
    z = b.max_pool(z, (2, 3), (2, 1), (1, 0, 0, 1))
    z = b.requantize(z, (4, True, 0.2, 2))
    z = b.add(z, z, (4, False, 0.4, 1))
    w = b.conv(z, 7, (2, 2), padding=(1, 1, 0, 2), w_bits=(2, 4, 8, 4, 2, 8, 2), out=s2)
    w = b.avg_pool(w, (2, 2), (2, 2), (1, 0, 0, 1), out=s2)
    v = b.flatten(w)
    u = b.reshape(z, (1, b.tensors[z].elements // 11, 11))
    return b.build(b.linear(v, 3, w_bits=(2, 4)), b.flatten(y), u)


NETWORKS: dict[str, Callable[[Flavour], Network]] = {
    "digits_cnn": digits_cnn,
    "residual": residual,
    "tcn": tcn,
    "packed_rows": packed_rows,
}
"""Fixed networks by name; each exists in both flavours."""


def random_inputs(network: Network, samples: int, seed: int = 0) -> list[npt.NDArray[np.int64]]:
    """Random codes for every input, ``(samples, *shape)``; the first two samples are the extremes of the range."""
    rng = np.random.default_rng(seed)
    inputs = []
    for tensor in network.input_tensors():
        codes = rng.integers(tensor.qmin, tensor.qmax + 1, size=(samples, *tensor.shape))
        codes[0] = tensor.qmin
        codes[1:2] = tensor.qmax
        inputs.append(codes)
    return inputs


def packed_samples(network: Network, codes: Sequence[npt.NDArray[np.int64]], names: Sequence[str]) -> list[bytes]:
    """Per sample, the packed bytes of some tensors back to back."""
    samples = len(codes[0])
    return [
        b"".join(pack(network.tensors[name], values[i : i + 1]) for name, values in zip(names, codes, strict=True))
        for i in range(samples)
    ]


def reference(network: Network, inputs: Sequence[npt.NDArray[np.int64]]) -> dict[str, list[bytes]]:
    """Per tensor and sample, the packed bytes that the interpreter computes."""
    values = run(network, inputs)
    return {
        name: [pack(network.tensors[name], codes[i : i + 1]) for i in range(len(codes))]
        for name, codes in values.items()
    }
