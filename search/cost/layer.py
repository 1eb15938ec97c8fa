# SPDX-License-Identifier: Apache-2.0
"""What a formula wants to know of a convolution or linear layer, read out of its spec in one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.search.cost.evaluate import Number
from plinio_deploy.search.cost.spec import CostSpec, Spec

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

BIAS_BITS = 32
DEFAULT_BITS = 8


@dataclass(frozen=True)
class Layer:
    """A convolution, transposed convolution or linear layer (a convolution with one tap), as it is searched.

    Attributes:
        cin: input channels.
        cout: output channels.
        groups: channel groups, as built.
        depthwise: each input channel is a group of its own; ``groups`` then follows ``cin`` when channels go.
        kernel: taps per spatial axis.
        spatial: output size per spatial axis; for Linear all axes between batch and features.
        bias: whether there is one.
        cin_per_group: input channels that one output channel reads.
    """

    cin: Number
    cout: Number
    groups: int
    depthwise: bool
    kernel: tuple[Number, ...]
    spatial: tuple[int, ...]
    bias: bool

    @property
    def cin_per_group(self) -> Number:
        """Input channels that one output channel reads."""
        return 1.0 if self.depthwise else self.cin / self.groups

    @property
    def taps(self) -> Number:
        """Product of the kernel's sizes."""
        return product(self.kernel)

    @property
    def positions(self) -> int:
        """Output positions."""
        return math.prod(self.spatial)

    @property
    def weights(self) -> Number:
        """Weights, without biases."""
        return self.cout * self.cin_per_group * self.taps

    @property
    def biases(self) -> Number:
        """Biases; 0 if the layer has none."""
        return self.cout * float(self.bias)


def product(values: Iterable[Number]) -> Number:
    """Product of numbers and tensors."""
    result: Number = 1.0
    for factor in values:
        result = result * factor
    return result


def conv(spec: Spec) -> Layer:
    """Read the spec of a convolution."""
    static = spec.get("static", spec)
    groups = int(static["groups"])
    return Layer(
        cin=spec["in_channels"],
        cout=spec["out_channels"],
        groups=groups,
        depthwise=groups > 1 and groups == int(static["in_channels"]),
        kernel=_tuple(spec["kernel_size"]),
        spatial=tuple(int(size) for size in spec["output_shape"][2:]),
        bias=has_bias(spec),
    )


def conv_transpose(spec: Spec) -> Layer:
    """Read the spec of a transposed convolution.

    `Layer.spatial` is the size of its input, where its multiplications start.
    """
    return replace(conv(spec), spatial=tuple(int(size) for size in spec["input_shape"][2:]))


def linear(spec: Spec) -> Layer:
    """Read the spec of a linear layer; `Layer.kernel` is empty."""
    spatial = tuple(int(size) for size in spec["output_shape"][1:-1])
    return Layer(spec["in_features"], spec["out_features"], 1, False, (), spatial, has_bias(spec))


def output_positions(spec: Spec) -> int:
    """Positions at which a bias is added: those of the output, for all kinds but Linear all axes after the channels."""
    shape = spec["output_shape"]
    return math.prod(int(size) for size in (shape[1:-1] if "in_features" in spec else shape[2:]))


def has_bias(spec: Spec) -> bool:
    """Whether the layer has a bias; modules keep it among their parameters, where ``vars`` shows it."""
    bias = spec["bias"] if "bias" in spec else spec.get("_parameters", {}).get("bias")
    return bias is not None and bias is not False


def weight_bits(spec: Spec) -> Number:
    """Bits per weight."""
    bits: Number = spec.get("w_precision", DEFAULT_BITS)
    return bits


def input_bits(spec: Spec) -> Number:
    """Bits per input activation."""
    bits: Number = spec.get("in_precision", DEFAULT_BITS)
    return bits


def one_of(name: str, bits: Number, allowed: tuple[int, ...]) -> int:
    """A width that a table has a column for.

    Raises:
        UsageError: it is not among them.
    """
    if float(bits) not in allowed:
        raise UsageError(
            f"the cost model has no figure for this {name}",
            got=f"{float(bits):g} bits",
            expected="one of " + ", ".join(map(str, allowed)) + " bits",
            hints=["Search among the widths the target has, or take another cost model."],
        )
    return int(float(bits))


def add_weighted(cost: CostSpec, formula: Callable[[Layer, Spec], Any]) -> CostSpec:
    """One formula for every kind of layer that has weights: all convolutions, transposed ones, and Linear."""
    for kind in CONVOLUTIONS:
        cost[kind] = seen_as(conv, formula)
    for transposed in TRANSPOSED:
        cost[transposed] = seen_as(conv_transpose, formula)
    cost[nn.Linear] = seen_as(linear, formula)
    return cost


def seen_as(view: Callable[[Spec], Layer], formula: Callable[[Layer, Spec], Any]) -> Callable[[Spec], Any]:
    """A formula of a layer's numbers as one of its spec; unlike a lambda it can be pickled, and with it the search."""
    return partial(_through, view, formula)


def _through(view: Callable[[Spec], Layer], formula: Callable[[Layer, Spec], Any], spec: Spec) -> Any:
    return formula(view(spec), spec)


def _tuple(kernel: Any) -> tuple[Number, ...]:
    return tuple(kernel) if isinstance(kernel, tuple | list) else (kernel,)
