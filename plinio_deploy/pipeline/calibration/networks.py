# SPDX-License-Identifier: Apache-2.0
"""Whole networks that no fit ever sees: the four of MLPerf Tiny, and random ones as a search leaves them behind."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from plinio_deploy.network import Network, Reshape, Tensor
from plinio_deploy.pipeline.calibration.micro import Builder, Spec, scattered

SEARCHED = 20
"""Random networks."""

DRAWN = 1200
"""First seed of them."""

MOBILENET = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Channels at full width and stride of each separable block of MobileNetV1."""


class _Chain:
    """Layers one after another; ``w_bits`` and channels of each are what a function of its index says."""

    def __init__(self, name: str, shape: Sequence[int], seed: int = 0, *, mixed: bool = False) -> None:
        self.built = Builder(name, seed)
        self.rng = random.Random(f"{name} {seed}")  # noqa: S311 - no secret
        self.mixed = mixed
        self.at: Tensor = self.built.input(shape, 8)

    def width(self, channels: int) -> int:
        """Channels that are left of so many."""
        return channels if not self.mixed else max(4, round(channels * self.rng.uniform(0.4, 1.0)))

    def bits(self, channels: int) -> tuple[int, ...]:
        """Bits of each output channel."""
        if not self.mixed:
            return (8,)
        if self.rng.random() < 0.5:
            return (self.rng.choice((8, 4, 2)),)
        return scattered(self.rng, channels)

    def a_bits(self) -> int:
        return self.rng.choice((8, 8, 8, 4)) if self.mixed else 8

    def conv(
        self, channels: int, kernel: tuple[int, int] = (3, 3), stride: int = 1, source: Tensor | None = None
    ) -> Tensor:
        x = source or self.at
        steps = (1 if kernel[0] == 1 < kernel[1] else stride, stride)
        centred = all(size % 2 for size in kernel)
        spec = Spec("conv", x.channels, channels, (x.shape[0], x.shape[1]), kernel, steps, centred=centred)
        return self._add(spec, x)

    def depthwise(self, stride: int = 1) -> Tensor:
        x, size = self.at, (self.at.shape[0], self.at.shape[1])
        spec = Spec("conv", x.channels, x.channels, size, (3, 3), (stride, stride), groups=x.channels, centred=True)
        return self._add(spec, x)

    def linear(self, channels: int) -> Tensor:
        return self._add(Spec("linear", self.at.channels, channels), self.at)

    def add(self, other: Tensor) -> Tensor:
        x = self.at
        spec = Spec("add", x.channels, x.channels, (x.shape[0], x.shape[1]), a_bits=x.bits, out_bits=8)
        self.at = self.built.add(spec, self._name("add"), (x, other))
        return self.at

    def pool(self) -> Tensor:
        """The mean over everything, as a vector."""
        x = self.at
        size = (x.shape[0], x.shape[1])
        spec = Spec("pool", x.channels, x.channels, size, size, same=False, a_bits=x.bits, out_bits=8)
        pooled = self.built.add(spec, self._name("pool"), (x,))
        flat = Tensor("flat", (x.channels,), 8, pooled.signed, pooled.scale, pooled.zero_point)
        self.built.tensors[flat.name] = flat
        self.built.ops.append(Reshape("flatten", pooled.name, flat.name))
        self.at = flat
        return flat

    def build(self) -> Network:
        return self.built.build([self.at.name])

    def _add(self, spec: Spec, source: Tensor) -> Tensor:
        spec = replace(spec, w_bits=self.bits(spec.cout), a_bits=source.bits, out_bits=self.a_bits())
        self.at = self.built.add(spec, self._name(spec.op), (source,))
        return self.at

    def _name(self, op: str) -> str:
        return f"{op}{len(self.built.ops)}"


def _block(chain: _Chain, channels: int, stride: int) -> None:
    source = chain.at
    chain.conv(chain.width(channels), stride=stride)
    kept, chain.mixed = chain.mixed, False  # both ways must end in tensors of one shape and width
    inner = chain.conv(channels)
    changes = stride > 1 or source.channels != channels
    other = chain.conv(channels, (1, 1), stride, source) if changes else source
    chain.mixed = kept
    chain.at = inner
    chain.add(other)


def _resnet(chain: _Chain, first: int) -> Network:
    chain.conv(first)
    for factor, stride in ((1, 1), (2, 2), (4, 2)):
        _block(chain, factor * first, stride)
    chain.pool()
    chain.linear(10)
    return chain.build()


def _ds_cnn(chain: _Chain, channels: int, blocks: int = 4) -> Network:
    chain.conv(chain.width(channels), (10, 4), 2)
    for _ in range(blocks):
        chain.depthwise()
        chain.conv(chain.width(channels), (1, 1))
    chain.pool()
    chain.linear(12)
    return chain.build()


def _mobilenet(chain: _Chain, width: float, blocks: int = len(MOBILENET)) -> Network:
    chain.conv(round(32 * width), stride=2)
    for full, stride in MOBILENET[:blocks]:
        chain.depthwise(stride)
        chain.conv(chain.width(round(full * width)), (1, 1))
    chain.pool()
    chain.linear(2)
    return chain.build()


def _autoencoder(chain: _Chain, hidden: int, inputs: int) -> Network:
    for size in (*(hidden,) * 4, 8, *(hidden,) * 4, inputs):
        chain.linear(size if size == inputs else chain.width(size))
    return chain.build()


def _temporal(chain: _Chain, first: int) -> Network:
    for factor in (1, 2, 3):
        chain.conv(chain.width(factor * first), (1, 9))
        chain.conv(chain.width(factor * first), (1, 3), 2)
    chain.pool()
    chain.linear(4)
    return chain.build()


def _plain(chain: _Chain, first: int) -> Network:
    for factor, stride in ((1, 1), (2, 2), (2, 1), (4, 2)):
        chain.conv(chain.width(factor * first), stride=stride)
    chain.pool()
    chain.linear(chain.width(24))
    chain.linear(10)
    return chain.build()


def known() -> Iterator[tuple[str, Network]]:
    """The networks of MLPerf Tiny at 8 bits, whole."""
    yield "resnet8", _resnet(_Chain("resnet8", (32, 32, 3)), 16)
    yield "ds-cnn", _ds_cnn(_Chain("ds_cnn", (49, 10, 1)), 64)
    yield "mobilenetv1-025", _mobilenet(_Chain("mobilenet", (96, 96, 3)), 0.25)
    yield "autoencoder", _autoencoder(_Chain("autoencoder", (640,)), 128, 640)


def searched(count: int = SEARCHED) -> Iterator[tuple[str, Network]]:
    """Random networks of six families: channels of each layer, bits of each channel and of each tensor vary."""
    for index in range(count):
        name, seed = f"searched{index}", DRAWN + index
        side = (8, 12, 16)[index % 3]
        image = _Chain(name, (side, side, (1, 3)[index % 2]), seed, mixed=True)
        first = (8, 12, 16)[index // 6 % 3]
        family = index % 6
        if family == 0:
            yield name, _resnet(image, first)
        elif family == 1:
            yield name, _ds_cnn(_Chain(name, (25, 10, 1), seed, mixed=True), 4 * first)
        elif family == 2:
            yield name, _mobilenet(_Chain(name, (32, 32, 3), seed, mixed=True), 0.25, 8)
        elif family == 3:
            yield name, _autoencoder(_Chain(name, (20 * first,), seed, mixed=True), 4 * first, 20 * first)
        elif family == 4:
            yield name, _temporal(_Chain(name, (1, 128, 4), seed, mixed=True), first)
        else:
            yield name, _plain(image, first)
