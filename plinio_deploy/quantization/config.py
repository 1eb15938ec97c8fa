# SPDX-License-Identifier: Apache-2.0
"""How a model is to be quantized: bit widths, everywhere and per layer."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.graph import Conv, Graph, Linear, Node
from plinio_deploy.quantization.quantizers import check_bits

LinearScales = Literal["channel", "tensor"]
"""A step for each output channel of a fully connected layer, or one for all of its weights."""


@dataclass(frozen=True)
class LayerConfig:
    """What one layer does differently.

    Attributes:
        w_bits: width of its weights, or one width per output channel; ``None`` keeps the network's. In such a list 0
            removes the channel, here and in everything that is tied to it (`plinio_deploy.quantization.channels`).
        a_bits: width of its output; ``None`` keeps the network's.
        accelerators: which part of the chip computes each output channel, by name; empty without such an assignment. It
            goes into the integer network and changes no number.
    """

    w_bits: int | tuple[int, ...] | None = None
    a_bits: int | None = None
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuantConfig:
    """How a model is to be quantized. All widths are 2, 4 or 8, single channels of weights may have 0.

    Attributes:
        w_bits: width of weights.
        a_bits: width of activations.
        input_range: least and greatest real input, or one such pair per input.
        input_bits: width of the network's inputs.
        output_bits: width of the network's outputs.
        learn_weight_steps: whether the steps of weights are trained, or stay as chosen at the start.
        narrow_weights: widths of weights whose least code is left out, so that codes are symmetric: with 2 among them,
            2-bit weights are ternary.
        linear_scales: whether the weights of a fully connected layer have a step per output channel or, as in TFLite's
            8-bit scheme, one per tensor (where channels differ in width: one per width). With one its biases are also
            rounded to 16 significant bits if no output moves by more than 1/64 of a code; the generated C then has
            up to 6 bytes per output less. Convolutions always have one per channel.
        layers: exceptions, by module path (``"block1.conv"``); operators that are no module go by the path of the
            module that calls them plus their name (``"block1.add"``).
    """

    w_bits: int = 8
    a_bits: int = 8
    input_range: tuple[float, float] | tuple[tuple[float, float], ...] = (0.0, 1.0)
    input_bits: int = 8
    output_bits: int = 8
    learn_weight_steps: bool = True
    narrow_weights: tuple[int, ...] = ()
    linear_scales: LinearScales = "channel"
    layers: Mapping[str, LayerConfig] = field(default_factory=dict)

    def check(self, graph: Graph) -> None:
        """Refuse keys that name no layer, with the closest that do.

        Raises:
            UsageError: a key of ``layers`` matches nothing in the graph, or ``linear_scales`` is no such word.
        """
        known = get_args(LinearScales)
        if self.linear_scales not in known:
            raise UsageError(
                "unknown kind of scales", where="QuantConfig.linear_scales", got=self.linear_scales, expected=known
            )
        paths = sorted({node.path for node in graph.nodes})
        for key in self.layers:
            if key not in paths:
                close = difflib.get_close_matches(key, paths, n=3)
                hints = [f"Did you mean {name!r}?" for name in close] or ["Layers: " + ", ".join(paths)]
                raise UsageError("a per-layer setting names no layer", where="QuantConfig.layers", got=key, hints=hints)

    def weight_bits(self, node: Node, channels: int) -> tuple[int, ...]:
        """Width of each output channel of a conv or linear.

        Raises:
            UsageError: a list of the wrong length, or an unknown width.
        """
        assert isinstance(node.operator, Conv | Linear)
        own = self.layers.get(node.path, LayerConfig()).w_bits
        bits = self.w_bits if own is None else own
        if isinstance(bits, int):
            check_bits(bits, node.path)
            return (bits,) * channels
        if len(bits) != channels:
            raise UsageError("wrong number of bit widths", where=node.path, got=len(bits), expected=channels)
        return tuple(bits)

    def shares_step(self, node: Node) -> bool:
        """Whether all weights of a conv or linear (of one width) have one step."""
        return isinstance(node.operator, Linear) and self.linear_scales == "tensor"

    def accelerators(self, node: Node, channels: int) -> tuple[str, ...]:
        """Accelerator of each output channel of a conv or linear; empty without an assignment.

        Raises:
            UsageError: a list of the wrong length.
        """
        own = self.layers.get(node.path, LayerConfig()).accelerators
        if len(own) not in (0, channels):
            raise UsageError("wrong number of accelerators", where=node.path, got=len(own), expected=channels)
        return own

    def activation_bits(self, node: Node, *, is_output: bool) -> int:
        """Width of a node's output."""
        own = self.layers.get(node.path, LayerConfig()).a_bits
        if own is not None:
            return own
        return self.output_bits if is_output else self.a_bits

    def range_of(self, index: int) -> tuple[float, float]:
        """Range of one input."""
        first = self.input_range[0]
        if isinstance(first, tuple):
            pairs = self.input_range
            if index >= len(pairs):
                raise UsageError(
                    "too few input ranges",
                    where="QuantConfig.input_range",
                    got=len(pairs),
                    expected=f"more than {index}",
                )
            pair = pairs[index]
            assert isinstance(pair, tuple)
            return pair
        low, high = self.input_range
        assert isinstance(low, int | float)
        assert isinstance(high, int | float)
        return (float(low), float(high))
