# SPDX-License-Identifier: Apache-2.0
"""Random valid integer networks with every op, bit width, flavour, padding, group and dilation."""

from __future__ import annotations

import numpy as np

from plinio_deploy.network import Network, Padding
from tests.network_builder import Builder, Pair, Quantizer


class _Random:
    """One random network: each method appends one op with random geometry."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.b = Builder(seed, "hi32" if rng.random() < 0.6 else "tflite", f"random{seed}")
        self.flat = False

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def maybe(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def quantizer(self) -> Quantizer:
        return self.b.quantizer(self.pick(2, 4, 8, 8))

    def w_bits(self) -> list[int]:
        kind = self.pick(0, 1, 2)
        if kind == 0:
            return [self.pick(2, 4, 8)]
        if kind == 1:
            return [8] * self.pick(1, 2, 5) + [4] * self.pick(1, 3) + [2] * self.pick(1, 2, 9)
        return [self.pick(2, 4, 8) for _ in range(16)]

    def source(self, axes: int) -> str | None:
        names = [name for name, tensor in self.b.tensors.items() if len(tensor.shape) == axes]
        return str(self.rng.choice(names[-3:])) if names else None

    def geometry(self, shape: tuple[int, ...]) -> tuple[Pair, Pair, Padding, Pair]:
        """Kernel, stride, padding, dilation of a window that fits; padding stays below the reach of the kernel."""
        kernel, stride, dilation, padding = [], [], [], []
        for size in shape[:2]:
            k, d = (self.pick(1, 2, 3, 3, 4), self.pick(1, 1, 1, 2)) if size > 1 or self.maybe(0.2) else (1, 1)
            reach = d * (k - 1)
            pads = [int(self.rng.integers(0, reach // d + 1)) for _ in range(2)] if self.maybe(0.6) else [0, 0]
            if size + sum(pads) <= reach:
                k = d = 1
                pads = [0, 0]
            kernel.append(k)
            dilation.append(d)
            padding += pads
            stride.append(self.pick(1, 1, 2, 3))
        top, bottom, left, right = padding
        return (kernel[0], kernel[1]), (stride[0], stride[1]), (top, bottom, left, right), (dilation[0], dilation[1])

    def conv(self, x: str) -> None:
        shape = self.b.tensors[x].shape
        kernel, stride, padding, dilation = self.geometry(shape)
        groups = 1
        channels = self.pick(1, 2, 3, 5, 8, 12)
        if self.maybe(0.4):
            groups = self.pick(*[g for g in range(1, shape[2] + 1) if shape[2] % g == 0])
            channels = groups * self.pick(1, 1, 2, 3)
        self.b.conv(
            x,
            channels,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            w_bits=self.w_bits(),
            out=self.quantizer(),
            relu=self.maybe(),
            per_channel=self.maybe(0.8),
            gain=self.pick(1, 3),
        )

    def linear(self, _: str) -> None:
        x = self.source(1)
        if x is None:
            x = self.b.flatten(self.source(3) or "")
        self.b.linear(x, self.pick(1, 3, 10), w_bits=self.w_bits(), out=self.quantizer(), relu=self.maybe())

    def add(self, x: str) -> None:
        b = self.b
        y = b.requantize(x, self.quantizer()) if self.maybe() else x
        b.add(*((x, y) if self.maybe() else (y, x)), self.quantizer(), relu=self.maybe())

    def concat(self, x: str) -> None:
        b = self.b
        axis = int(self.rng.integers(len(b.tensors[x].shape)))
        y = b.requantize(x, b.like(x)) if self.maybe() else x
        if axis == 2 and self.maybe():
            y = b.conv(x, self.pick(1, 2, 3), (1, 1), out=b.like(x))
        b.concat([x, y] if self.maybe() else [y, x, y], axis)

    def avg_pool(self, x: str) -> None:
        kernel, stride, padding, _ = self.geometry(self.b.tensors[x].shape)
        room = [self.b.tensors[x].shape[i] + sum(padding[2 * i : 2 * i + 2]) for i in range(2)]
        if kernel[0] > room[0] or kernel[1] > room[1]:
            kernel, padding = (1, 1), (0, 0, 0, 0)
        self.b.avg_pool(x, kernel, stride, padding, self.quantizer())

    def max_pool(self, x: str) -> None:
        shape = self.b.tensors[x].shape
        kernel, stride, padding, dilation = self.geometry(shape)
        if any(max(padding[2 * i : 2 * i + 2]) and dilation[i] * (kernel[i] - 1) > shape[i] for i in range(2)):
            kernel, padding, dilation = (1, 1), (0, 0, 0, 0), (1, 1)
        if any(dilation[i] > shape[i] for i in range(2)):
            dilation = (1, 1)
        self.b.max_pool(x, kernel, stride, padding, dilation)

    def reshape(self, x: str) -> None:
        elements = self.b.tensors[x].elements
        divisors = [d for d in range(1, min(elements, 12) + 1) if elements % d == 0]
        channels = self.pick(*divisors)
        height = self.pick(*[d for d in divisors if elements // channels % d == 0])
        self.b.reshape(x, (height, elements // channels // height, channels))

    def requantize(self, x: str) -> None:
        self.b.requantize(x, self.quantizer(), relu=self.maybe())

    def pad(self, x: str) -> None:
        top, bottom, left, right = (int(size) for size in self.rng.integers(0, 3, 4))
        self.b.pad(x, (top, bottom, left, right))

    def grow(self, count: int) -> Network:
        makers = [self.conv, self.conv, self.conv, self.linear, self.add, self.concat, self.avg_pool]
        makers += [self.max_pool, self.reshape, self.requantize, self.pad]
        while len(self.b.ops) < count:
            x = self.source(3)
            assert x is not None
            if self.b.tensors[x].elements > 600:
                self.b.conv(x, 3, (1, 1), stride=(2, 2), out=self.quantizer())
            else:
                makers[int(self.rng.integers(len(makers)))](x)
        return self.b.build()


def random_network(seed: int, ops: int = 8) -> Network:
    """A random valid network of at least ``ops`` ops; the same for the same seed."""
    random = _Random(seed)
    height = 1 if random.maybe(0.25) else random.pick(1, 3, 5, 8)
    for _ in range(random.pick(1, 1, 1, 2)):
        random.b.input((height, random.pick(1, 4, 7, 9), random.pick(1, 2, 3, 4, 5, 8)), random.quantizer())
    return random.grow(ops)
