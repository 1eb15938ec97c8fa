# SPDX-License-Identifier: Apache-2.0
"""What each precision costs in loss, from gradients alone: where a search of precisions starts.

To second order a change ``e`` of a channel's weights raises the loss by ``1/2 E[(g . e)^2]``, where ``g`` is the
gradient of one sample's loss and the Fisher information stands for the Hessian; the first-order term vanishes in a
trained network. The change is the rounding error of a precision, or the whole channel, bias included, for 0 bits. Sums
over a channel before the square keep what errors of neighbouring weights cancel (as in the Fisher potential of
A. Turner et al., "BlockSwap", ICLR 2020, which sums over a channel's activations).

That is the rise before any training. Weights around a rounding error learn to live with most of it; a channel that is
gone stays gone. Rounding therefore counts for `LEFT` of its rise, pruning for all.

With the same logits in all channels at the start, as PLiNIO has them, the gradients of a short search tell little about
precisions that were never tried, and a limit that comes down on all of them takes whole channels before it takes bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.norms import ChannelNorm
from plinio_deploy.search.methods.mps.network import MixedNetwork
from plinio_deploy.search.methods.mps.quantizers import MixedLayer

LEFT = 0.1
"""What of a rounding error's rise of the loss is left after fine-tuning, roughly.

Seen on ResNet8 and CIFAR-10: all weights at 2 bits take 60 points before and 3 after 11 epochs. With 1, a search
towards 22 kB takes 98 of 346 channels and keeps the rest at 4 bits; with 0.1 it takes 20.
"""

MICROBATCH = 8
"""Samples whose gradients are taken together: fewer are closer to the formula and take longer."""


def rank_precisions(
    network: MixedNetwork, criterion: Callable[[Tensor, Tensor], Tensor], batches: Iterable[tuple[Any, Tensor]]
) -> None:
    """Set the logits of all weights' precisions to minus the estimated rise of the loss, in units of its median.

    The unit is the median, over all channels where there is any, of the rise by the least precision but 0. Gradients
    are those at the greatest precision of all weights and the likeliest of all activations.

    Args:
        network: calibrated; nothing but logits of weights changes.
        criterion: from (output, target) to the mean loss.
        batches: pairs of input (several inputs: a tuple of them) and target; a few hundred samples are enough.

    Raises:
        UsageError: no batch, the network is not calibrated, or the number of inputs is wrong.
    """
    layers = {key: layer for key, layer in network.layers.items() if isinstance(layer, MixedLayer)}
    constants = {key: _constant(network, key) for key in layers}
    rises = {key: layer.bias.new_zeros(len(layer.choice.precisions), len(layer.bias)) for key, layer in layers.items()}
    errors = {key: _errors(layer, constants[key][1]) for key, layer in layers.items()}
    parameters = [p for key, layer in layers.items() for p in (layer.weight, constants[key][0])]
    seen = 0
    with network.decided(), _differentiable(parameters), _at_greatest(list(layers.values())):
        for x, y in batches:
            inputs = network.inputs_of((x,))
            several = (torch.split(tensor, MICROBATCH) for tensor in (*inputs, y.to(inputs[0].device)))
            for *some, targets in zip(*several, strict=True):
                loss = criterion(network(*some), targets)
                gradients = iter(torch.autograd.grad(loss, parameters, allow_unused=True) if parameters else ())
                seen += 1
                for key in layers:
                    rises[key] += _products(next(gradients), next(gradients), errors[key]).square()
    for key, layer in layers.items():
        rises[key][1 if layer.prunes else 0 :] *= LEFT
    if seen == 0:
        raise UsageError("nothing to rank precisions with", got="no batch", expected="at least one")
    _set_logits(layers, rises)


@torch.no_grad()
def _set_logits(layers: Mapping[str, MixedLayer], rises: Mapping[str, Tensor]) -> None:
    least = [rises[key][1 if layer.prunes else 0] for key, layer in layers.items()]
    positive = torch.cat(least) if least else torch.zeros(0)
    positive = positive[positive > 0]
    unit = float(positive.median()) if len(positive) else 1.0
    for key, layer in layers.items():
        alpha = layer.choice.alpha
        rise = rises[key] if alpha.dim() == 2 else rises[key].sum(1)
        alpha.copy_(-rise / unit)


@contextmanager
def _differentiable(parameters: Sequence[Tensor]) -> Iterator[None]:
    """With gradients for these, even while the search has paused them."""
    before = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_()
        with torch.enable_grad():
            yield
    finally:
        for parameter, needed in zip(parameters, before, strict=True):
            parameter.requires_grad_(needed)


@contextmanager
def _at_greatest(layers: Sequence[MixedLayer]) -> Iterator[None]:
    """With the greatest precision as the likeliest of all layers; logits come back as they were."""
    before = [layer.choice.alpha.detach().clone() for layer in layers]
    try:
        for layer, alpha in zip(layers, before, strict=True):
            layer.choice.alpha.data[-1] = alpha.max() + 1
        yield
    finally:
        for layer, alpha in zip(layers, before, strict=True):
            layer.choice.alpha.data.copy_(alpha)


def _constant(network: MixedNetwork, key: str) -> tuple[Tensor, Tensor]:
    """What of a layer's constant per channel is trained, with the same gradient, and the constant itself."""
    if key in network.norms:
        norm = cast(ChannelNorm, network.norms[key])
        return norm.offset, norm.folded()[1].detach()
    bias = network.layers[key].get_parameter("bias")
    return bias, bias.detach()


@torch.no_grad()
def _errors(layer: MixedLayer, constant: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """What each precision changes in weights and constants; 0 bits take both away, others leave the constants."""
    shape = (-1, *(1,) * (layer.weight.dim() - 1))
    scales = torch.exp(layer.log_step).view_as(layer.low)
    found: list[tuple[Tensor, Tensor | None]] = [(-layer.weight, -constant)] if layer.prunes else []
    for scale, low, high in zip(scales, layer.low, layer.high, strict=True):
        codes = torch.clamp(torch.round(layer.weight / scale.view(shape)), low.view(shape), high.view(shape))
        found.append((codes * scale.view(shape) - layer.weight, None))
    return found


def _products(
    by_weight: Tensor | None, by_constant: Tensor | None, errors: Sequence[tuple[Tensor, Tensor | None]]
) -> Tensor:
    """Gradient times error, ``(P, C)``; 0 for what the loss does not depend on."""
    found = []
    for error, change in errors:
        product = error.new_zeros(len(error)) if by_weight is None else (by_weight * error).flatten(1).sum(1)
        found.append(product if change is None or by_constant is None else product + by_constant * change)
    return torch.stack(found)
