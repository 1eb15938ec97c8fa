# SPDX-License-Identifier: Apache-2.0
"""Batch norms in training with quantizers in.

A fake-quantized network is made with its batch norms folded, which is what runs on the chip; but weights of few bits
train badly without them. `restore_norms` puts them back behind the layers that they were folded into: the quantized
weight is that of the convolution itself, the norm follows it in float. For the chip this makes no difference. A norm is
a positive factor and a constant per output channel; the factor joins the step of the channel's weights, whose codes
stay what they are, and the constant joins the bias. `fold_norms` does that for good; in eval mode the network computes
so all the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from plinio_deploy.quantization.graph import Conv, Linear
from plinio_deploy.quantization.layers import QuantLayer, apply_layer
from plinio_deploy.quantization.parts import Walkable

EPS = 1e-5
MOMENTUM = 0.1
LEAST = 1e-8
"""Of a factor: steps stay positive."""


class ChannelNorm(nn.Module):
    """A batch norm with a positive factor per channel.

    Args:
        factor: what the folded norm multiplies each channel by, ``(C,)``, not 0.
        mean: of what it reads, ``(C,)``.
        variance: likewise.
        shift: what the folded norm adds, ``(C,)``.

    Attributes:
        gain, offset: trained; the factor is ``|gain| / sqrt(variance + EPS)``.
        mean, variance: running statistics.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, factor: Tensor, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.gain = nn.Parameter(factor * torch.sqrt(variance + EPS))
        self.offset = nn.Parameter(shift + mean * factor)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("variance", variance.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``(N, C, ...)`` by the statistics of the batch, and keep running ones."""
        return functional.batch_norm(
            x, self.mean, self.variance, self.gain.abs(), self.offset, training=True, momentum=MOMENTUM, eps=EPS
        )

    def folded(self) -> tuple[Tensor, Tensor]:
        """Factor and constant by the running statistics, ``(C,)`` each."""
        factor = torch.clamp(self.gain.abs() / torch.sqrt(self.variance + EPS), min=LEAST)
        return factor, self.offset - self.mean * factor


def per_channel(values: Tensor, x: Tensor, axis: int = 0) -> Tensor:
    """``(C,)`` shaped to multiply ``x`` along an axis."""
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.view(shape)


def restore_norms(network: Walkable, inputs: Sequence[Tensor]) -> None:
    """Put a norm behind every layer that one was folded into; in eval mode the network computes what it did.

    Channels that are pruned at present get the statistics that they would have: a search may bring them back.

    Args:
        network: calibrated, in eval mode; changed in place. Layers that have a norm already keep it; those whose
            channels share a step cannot have one, for its factor joins the step.
        inputs: one tensor per input of the network, ``(N, ...)``, whose statistics the norms start from.
    """
    values: dict[str, Tensor] = {}
    with torch.no_grad():
        for node in network.nodes:
            operands = [values[name] for name in node.inputs]
            key = network.layer_of.get(node.name, "")
            able = key in network.folded and key not in network.norms and not _shares(network.layers[key])
            if isinstance(node.operator, Conv | Linear) and able:
                factor = network.folded[key].abs().to(operands[0])
                factor = torch.where(factor > LEAST, factor, 1.0)
                _scale(network.layers[key], 1 / factor)
                weight = cast(QuantLayer, network.layers[key]).free_weight()
                shift = network.layers[key].get_parameter("bias").detach()
                mean, variance = _statistics(apply_layer(node.operator, operands[0], weight, None))
                network.norms[key] = ChannelNorm(factor, mean, variance, shift)
            values[node.name] = network.evaluate(node, operands, inputs)


def renew_statistics(network: Walkable, inputs: Sequence[Tensor]) -> None:
    """Let all norms have the statistics of one batch, layer after layer.

    In eval mode the network then computes what training would on that batch, whatever precisions it has by now.

    Args:
        network: with norms, in eval mode; changed in place.
        inputs: one tensor per input of the network, ``(N, ...)``.
    """
    values: dict[str, Tensor] = {}
    renewed: set[str] = set()
    with torch.no_grad():
        for node in network.nodes:
            operands = [values[name] for name in node.inputs]
            key = network.layer_of.get(node.name, "")
            if isinstance(node.operator, Conv | Linear) and key in network.norms and key not in renewed:
                renewed.add(key)
                norm = cast(ChannelNorm, network.norms[key])
                weight = cast(QuantLayer, network.layers[key]).free_weight()
                mean, variance = _statistics(apply_layer(node.operator, operands[0], weight, None))
                norm.mean.copy_(mean)
                norm.variance.copy_(variance)
            values[node.name] = network.evaluate(node, operands, inputs)


def _statistics(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of ``(N, C, ...)``."""
    flat = sums.transpose(0, 1).flatten(1)
    return flat.mean(1), flat.var(1, unbiased=False)


def fold_norms(network: Walkable) -> None:
    """Let all norms join steps and biases again; in eval mode the network computes what it did."""
    with torch.no_grad():
        for key, norm in network.norms.items():
            factor, constant = cast(ChannelNorm, norm).folded()
            _scale(network.layers[key], factor)
            network.layers[key].get_parameter("bias").copy_(constant)
    network.norms = nn.ModuleDict()


def _shares(layer: nn.Module) -> bool:
    return isinstance(layer, QuantLayer) and layer.weight_quantizer.shared


def _scale(layer: nn.Module, factor: Tensor) -> None:
    """Multiply weights and their steps: the codes stay."""
    weight = layer.get_parameter("weight")
    weight.mul_(per_channel(factor, weight))
    steps = cast(nn.Module, getattr(layer, "weight_quantizer", layer)).get_parameter("log_step")
    steps.add_(torch.log(factor).repeat(len(steps) // len(factor)))
