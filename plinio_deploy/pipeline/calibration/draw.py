# SPDX-License-Identifier: Apache-2.0
"""Shapes of the layers that are measured, drawn as networks have them."""

from __future__ import annotations

import random
from dataclasses import replace

from plinio_deploy.pipeline.calibration.micro import Spec

ROUND = (4, 8, 8, 12, 16, 16, 20, 24, 32, 32, 40, 48, 64)
ODD = (4, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 22, 27, 30, 38, 50)
_KERNELS = ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3), (5, 5), (1, 3), (1, 5), (1, 9), (10, 4), (7, 7))
_SIZES = (4, 5, 6, 7, 8, 8, 10, 12, 16, 16, 20, 24, 32)
_LENGTHS = (5, 7, 9, 11, 13, 15, 17, 21, 27, 33, 35, 45, 50, 54, 63, 77, 90, 99, 130, 187, 250, 321)
"""Of vectors whose rows end within a word, or within a byte."""
_MANY = (40, 48, 51, 64, 72, 82, 89, 96, 112, 128)


class Draw:
    """Shapes of layers, each kind by a method of its name; the same seed draws the same ones.

    Args:
        seed: any text.
        fixed: number of channels; ``None`` draws it.
    """

    def __init__(self, seed: str, fixed: int | None = None) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - a design of experiments, no secret
        self.fixed = fixed

    def channels(self) -> int:
        """A number of them, most often a round one."""
        if self.fixed is not None:
            return self.fixed
        return self.rng.choice(ROUND if self.rng.random() < 0.7 else ODD)

    def size(self) -> tuple[int, int]:
        """Input positions, most often a square."""
        first = self.rng.choice(_SIZES)
        return (first, first) if self.rng.random() < 0.7 else (first, self.rng.choice(_SIZES))

    def pruned(self, op: str) -> Spec:
        """As pruning leaves a layer behind: any number of channels."""
        channels = self.rng.randint(4, 64)
        if op == "linear":
            return Spec("linear", channels, self.rng.randint(6, 96))
        if op == "depthwise":
            return self.spatial(Spec("conv", channels, channels, groups=channels), (3, 3))
        spec = Spec("conv", channels, self.rng.randint(4, 64))
        return self.spatial(spec, (1, 1) if op == "pointwise" else self.rng.choice(((3, 3), (3, 3), (1, 3), (1, 9))))

    def late(self, op: str) -> Spec:
        """Many channels and few positions, as at the end of a network."""
        channels, side = self.rng.choice(_MANY), self.rng.choice((2, 2, 3, 4, 5))
        if op == "depthwise":
            stride = self.strides()
            return Spec("conv", channels, channels, (side, side), (3, 3), stride, centred=True, groups=channels)
        return Spec("conv", channels, self.rng.choice(_MANY), (side, side))

    def strides(self) -> tuple[int, int]:
        """Mostly 1."""
        return (2, 2) if self.rng.random() < 0.25 else (1, 1)

    def widths(self, channels: int) -> tuple[int, ...]:
        """Bits of each channel, fours of neighbours of one width together; several widths where there is room."""
        if channels < 8:
            return (self.rng.choice((8, 4, 2)),)
        cuts = sorted(4 * self.rng.randint(0, channels // 4) for _ in range(2))
        found = (8,) * cuts[0] + (4,) * (cuts[1] - cuts[0]) + (2,) * (channels - cuts[1])
        return found if len(set(found)) > 1 else self.widths(channels)

    def few(self, channels: int) -> tuple[int, ...]:
        """Bits of channels that all have one width but for one or two."""
        most, other = self.rng.sample((8, 4, 2), 2)
        count = self.rng.choice((1, 1, 2))
        return tuple(sorted((*(most,) * (channels - count), *(other,) * count), reverse=True))

    def spatial(self, spec: Spec, kernel: tuple[int, int]) -> Spec:
        """The layer with a kernel, and with size, stride and padding drawn for it."""
        size = self.size()
        if kernel[0] == 1 and kernel[1] > 1:
            size = (1, 4 * size[1])
        stride = self.strides()
        stride = (1, stride[1]) if kernel[0] == 1 and kernel[1] > 1 else stride
        same = self.rng.random() < 0.75 or any(k > s for k, s in zip(kernel, size, strict=True))
        centred = same and all(k % 2 for k in kernel) and self.rng.random() < 0.5
        return replace(spec, size=size, kernel=kernel, stride=stride, same=same, centred=centred)

    def conv(self) -> Spec:
        """A dense convolution."""
        return self.spatial(Spec("conv", self.channels(), self.channels()), self.rng.choice(_KERNELS))

    def first(self) -> Spec:
        """A network's first layer: few input channels, 8 bits."""
        kernel = self.rng.choice(((3, 3), (3, 3), (5, 5), (10, 4), (1, 9)))
        return self.spatial(Spec("conv", self.rng.choice((1, 1, 2, 3, 3)), self.channels()), kernel)

    def start(self) -> Spec:
        """A network's first layer, over many positions."""
        kernel, side = self.rng.choice(((3, 3), (1, 9))), self.rng.choice((10, 12, 16, 16))
        spec = self.spatial(Spec("conv", self.rng.choice((3, 4)), self.channels()), kernel)
        return replace(spec, size=(side, side) if kernel == (3, 3) else (1, 8 * side))

    def pointwise(self) -> Spec:
        """A convolution of one tap."""
        return self.spatial(Spec("conv", self.channels(), self.channels()), (1, 1))

    def depthwise(self) -> Spec:
        """One input channel per group."""
        channels = self.channels()
        kernel = self.rng.choice(((3, 3), (3, 3), (3, 3), (3, 3), (5, 5), (1, 3), (1, 5)))
        return self.spatial(Spec("conv", channels, channels, groups=channels), kernel)

    def linear(self) -> Spec:
        """A matrix times a vector."""
        wide = (8, 10, 16, 24, 30, 32, 48, 64, 96, 100, 128, 192, 256, 384, 640)
        return Spec("linear", self.rng.choice(wide), self.rng.choice((2, 3, 8, 10, 12, 16, 21, 32, 48, 64, 100, 128)))

    def ragged(self) -> Spec:
        """Linear, its vectors of any length."""
        return Spec("linear", self.rng.choice(_LENGTHS), self.rng.choice((*_LENGTHS[:14], 4, 8, 12, 16, 24, 32, 64)))

    def wide(self) -> Spec:
        """Linear, of short vectors and many outputs."""
        outputs = self.rng.randint(129, 320)
        return Spec("linear", self.rng.randint(4, 64), outputs if self.rng.random() < 0.4 else outputs // 4 * 4)

    def narrow(self) -> Spec:
        """Linear, of the shortest vectors."""
        outputs = self.rng.randint(6, 96)
        return Spec("linear", self.rng.randint(4, 12), outputs if self.rng.random() < 0.4 else outputs // 4 * 4 + 4)

    def pool(self) -> Spec:
        """An average, of the whole image or of 2 x 2."""
        channels, size = self.channels(), self.size()
        if self.rng.random() < 0.5:
            return Spec("pool", channels, channels, size, size, (1, 1), same=False)
        return Spec("pool", channels, channels, size, (2, 2), (2, 2), same=False)

    def max_pool(self) -> Spec:
        """A maximum of 2 x 2 or 3 x 3."""
        channels = self.channels()
        side = self.rng.choice((2, 2, 3))
        return Spec("max_pool", channels, channels, self.size(), (side, side), (2, 2), same=side == 3)

    def plain(self, op: str) -> Spec:
        """An op without weights, on one tensor or several of one shape."""
        channels = self.channels()
        return Spec(op, channels, channels, self.size())

    def copy(self) -> Spec:
        """A concatenation of two."""
        channels = self.channels()
        return Spec("copy", channels, 2 * channels, self.size())
