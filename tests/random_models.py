# SPDX-License-Identifier: Apache-2.0
"""Random small models with every operator that has an integer form, for property tests of the torch side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from plinio_deploy.quantization import LayerConfig, QuantConfig, QuantNetwork, capture, quantize
from plinio_deploy.quantization.channels import tied_channels
from plinio_deploy.quantization.graph import Graph
from plinio_deploy.quantization.simplify import simplify

BITS = (2, 4, 8)
KINDS = ("conv", "conv", "conv", "separable", "residual", "branch", "max", "avg", "pad", "act")
"""Of layers, by how often they are to be drawn."""
RANGES = (("running_mean", -0.5, 0.5), ("running_var", 0.2, 2), ("weight", -1, 2), ("bias", -1, 1))
"""Of batch norms."""


@dataclass(frozen=True)
class Case:
    """A model with inputs that suit it, and how to quantize it."""

    model: nn.Module
    x: Tensor
    config: QuantConfig


class RandomModel(nn.Module):
    """A chain with branches, drawn from a seed; one or two spatial dimensions."""

    kinds: tuple[str, ...] = KINDS
    widest: int = 6

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.steps: list[tuple[str, int]] = []
        self.flat = len(shape) == 2
        self._rng = rng
        channels, size = shape[0], shape[1:]
        for _ in range(int(rng.integers(2, 6))):
            channels, size = getattr(self, f"_{rng.choice(self.kinds)}")(channels, size)
        self._head(channels, size)

    def _conv_class(self) -> type[nn.Module]:
        return nn.Conv1d if self.flat else nn.Conv2d

    def _make_conv(self, channels_in: int, channels_out: int, *, keep: bool, groups: int = 1) -> nn.Module:
        rng = self._rng
        kernel = int(rng.choice([1, 2, 3]))
        dilation = int(rng.choice([1, 2]))
        padding: int | str = "same" if keep else int(rng.integers(1, 3))
        bias = bool(rng.integers(2))
        conv: nn.Module = self._conv_class()(
            channels_in, channels_out, kernel, padding=padding, dilation=dilation, groups=groups, bias=bias
        )
        return conv

    def _norm(self, channels: int) -> nn.Module:
        norm: nn.Module = (nn.BatchNorm1d if self.flat else nn.BatchNorm2d)(channels)
        with torch.no_grad():
            for name, low, high in RANGES:
                values = torch.from_numpy(self._rng.uniform(low, high, channels).astype(np.float32))
                getattr(norm, name).copy_(values)
        return norm

    def _activation(self) -> nn.Module:
        choices: list[Callable[[], nn.Module]] = [
            nn.ReLU,
            lambda: nn.ReLU(inplace=True),
            nn.ReLU6,
            lambda: nn.Hardtanh(-0.7, 1.3),
            nn.Identity,
        ]
        return choices[int(self._rng.integers(len(choices)))]()

    def _append(self, kind: str, *modules: nn.Module) -> None:
        self.steps.append((kind, len(self.layers)))
        self.layers.append(nn.Sequential(*modules))

    def _conv(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        out = int(self._rng.integers(1, self.widest + 1))
        conv = self._make_conv(channels, out, keep=min(size) < 3)
        norm = [self._norm(out)] if self._rng.integers(2) else []
        self._append("chain", conv, *norm, self._activation())
        return out, self._after(channels, size)

    def _after(self, channels: int, size: tuple[int, ...]) -> tuple[int, ...]:
        with torch.no_grad():
            return tuple(self.layers[-1].eval()(torch.zeros(1, channels, *size)).shape[2:])

    def _separable(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        out = int(self._rng.integers(2, self.widest + 1))
        depthwise = self._make_conv(channels, channels, keep=True, groups=channels)
        pointwise = self._conv_class()(channels, out, 1)
        self._append("chain", depthwise, self._norm(channels), self._activation(), pointwise, self._activation())
        return out, size

    def _residual(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        self._append("residual", self._make_conv(channels, channels, keep=True), self._norm(channels))
        if self._rng.integers(2):
            self._append("chain", self._activation())
        return channels, size

    def _branch(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        out = int(self._rng.integers(1, 5))
        self._append("branch", self._make_conv(channels, out, keep=True), self._activation())
        return channels + out, size

    def _max(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        if min(size) < 2:
            return channels, size
        pool = (nn.MaxPool1d if self.flat else nn.MaxPool2d)(2, ceil_mode=bool(self._rng.integers(2)))
        self._append("chain", pool, self._activation())
        return channels, self._after(channels, size)

    def _avg(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        if min(size) < 3:
            return channels, size
        pool = (nn.AvgPool1d if self.flat else nn.AvgPool2d)(3, stride=2, padding=int(self._rng.integers(2)))
        self._append("chain", pool)
        return channels, self._after(channels, size)

    def _pad(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        pad: nn.Module = nn.ConstantPad1d((1, 0), 0.0) if self.flat else nn.ZeroPad2d((0, 1, 1, 0))
        self._append("chain", pad)
        return channels, self._after(channels, size)

    def _act(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        self._append("chain", self._activation(), nn.Dropout(0.2))
        return channels, size

    def _head(self, channels: int, size: tuple[int, ...]) -> None:
        self.head = str(self._rng.choice(["flatten", "two", "mean", "channels last", "none"]))
        features = channels * int(np.prod(size))
        inside = {"flatten": features, "two": features + channels, "mean": channels, "channels last": channels}
        self.norm = nn.BatchNorm1d(5)
        self.classifier = nn.Linear(inside.get(self.head, 1), 5)

    def forward(self, x: Tensor) -> Tensor:
        for kind, index in self.steps:
            layer = self.layers[index]
            if kind == "residual":
                x = layer(x) + x
            elif kind == "branch":
                x = torch.cat([x, layer(x)], 1)
            else:
                x = layer(x)
        dims = tuple(range(2, x.dim()))
        result: Tensor
        if self.head == "flatten":
            result = functional.log_softmax(self.norm(self.classifier(torch.flatten(x, 1))), 1)
        elif self.head == "two":
            joined = torch.cat([x.mean(dims), x.reshape(x.shape[0], -1)], 1)
            result = self.classifier(functional.relu(joined))
        elif self.head == "mean":
            result = torch.sigmoid(self.classifier(x.mean(dims)))
        elif self.head == "channels last":
            result = self.classifier(x.movedim(1, -1)).movedim(-1, 1)
        else:
            result = x + x if x.dim() < 4 else functional.relu(x)
        return result


class MixedModel(RandomModel):
    """A `RandomModel` with more channels, and with groups."""

    kinds = (*KINDS, "separable", "residual", "branch", "grouped", "grouped")
    widest = 11

    def _grouped(self, channels: int, size: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        groups = 2 + int(self._rng.integers(2))
        inside = groups * int(self._rng.integers(1, 4))
        out = groups * int(self._rng.integers(1, 4))
        conv = self._make_conv(inside, out, keep=True, groups=groups)
        self._append("chain", self._conv_class()(channels, inside, 1), self._activation(), conv, self._activation())
        return out, size


def mixed_case(seed: int) -> Case:
    """A model whose every width is drawn: per channel out of 0, 2, 4 and 8, and per activation; inputs of any width."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    size = tuple(int(extent) for extent in rng.integers(4, 9, 2))
    shape = (int(rng.integers(1, 4)), *(size if rng.integers(3) else (2 * size[0],)))
    model = MixedModel(rng, shape).eval()
    low = float(rng.choice([0.0, -1.0, -0.3]))
    x = torch.from_numpy(rng.uniform(low - 0.05, 1.1, (5, *shape)).astype(np.float32))
    config = QuantConfig(
        w_bits=int(rng.choice(BITS)),
        a_bits=int(rng.choice(BITS)),
        input_bits=int(rng.choice((8, 8, 4, 2))),
        output_bits=int(rng.choice((8, 8, 4))),
        input_range=(low, 1.0),
        layers=_mixed_layers(rng, simplify(capture(model, x[:1]))),
    )
    return Case(model, x, config)


def _mixed_layers(rng: np.random.Generator, graph: Graph) -> dict[str, LayerConfig]:
    """Widths of every layer; components of tied channels are pruned as long as no layer loses its last."""
    tied = tied_channels(graph)
    widths = {name: rng.choice(BITS, len(own)) for name, own in tied.outputs.items()}
    if rng.integers(4) == 0:
        widths = {name: np.full_like(own, own[0]) for name, own in widths.items()}
    rate = float(rng.choice([0.0, 0.2, 0.5]))
    for component in tied.components:
        if component.prunable and rng.random() < rate:
            gone = {name: {channel for other, channel in component.members if other == name} for name in widths}
            if all(np.count_nonzero(widths[name]) > len(gone[name]) for name in gone if gone[name]):
                for name, channel in component.members:
                    widths[name][channel] = 0
    layers: dict[str, LayerConfig] = {}
    for node in graph.nodes:
        a_bits = int(rng.choice(BITS)) if rng.integers(3) else None
        if node.name in widths:
            layers[node.path] = LayerConfig(tuple(int(width) for width in widths[node.name]), a_bits)
        else:
            layers.setdefault(node.path, LayerConfig(None, a_bits))
    return layers


def random_case(seed: int) -> Case:
    """A model, a batch of inputs that spill over the input's range, and widths mixed within layers."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    shape = (int(rng.integers(1, 4)), int(rng.integers(5, 10)), int(rng.integers(5, 10)))
    if rng.integers(4) == 0:
        shape = (shape[0], shape[1] * 2)  # type: ignore[assignment]
    model = RandomModel(rng, shape).eval()
    low = float(rng.choice([0.0, -1.0, -0.3]))
    x = torch.from_numpy(rng.uniform(low - 0.05, 1.1, (6, *shape)).astype(np.float32))
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d) and rng.integers(2):
            widths = tuple(int(b) for b in rng.choice(BITS, module.out_channels))
            layers[name] = LayerConfig(w_bits=widths, a_bits=int(rng.choice(BITS)))
    config = QuantConfig(
        w_bits=int(rng.choice(BITS)), a_bits=int(rng.choice((4, 8))), input_range=(low, 1.0), layers=layers
    )
    return Case(model, x, config)


def quantized(case: Case) -> QuantNetwork:
    """The calibrated network of a case."""
    return quantize(case.model, case.x[:1], case.config).calibrate([case.x]).eval()
