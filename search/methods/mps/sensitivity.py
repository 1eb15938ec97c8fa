# SPDX-License-Identifier: Apache-2.0
"""What each precision costs in loss, from gradients alone: where a search of precisions starts.

To second order a change ``e`` of a channel's weights raises the loss by ``1/2 E[(g . e)^2]``, where ``g`` is the
gradient of one sample's loss and the Fisher information stands for the Hessian; the first-order term vanishes in a
trained network. The change is the rounding error of a precision, or the whole channel, bias included, for 0 bits. Sums
over a channel before the square keep what errors of neighbouring weights cancel (as in the Fisher potential of
A. Turner et al., "BlockSwap", ICLR 2020, which sums over a channel's activations).

With the same logits in all channels at the start, as PLiNIO has them, the gradients of a short search tell little about
precisions that were never tried, and a limit that comes down on all of them takes whole channels before it takes bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from plinio_deploy.errors import UsageError
from plinio_deploy.search.methods.mps.network import MixedNetwork
from plinio_deploy.search.methods.mps.quantizers import MixedLayer

MICROBATCH = 8
"""Samples whose gradients are taken together: fewer are closer to the formula and take longer."""


def rank_precisions(
    network: MixedNetwork, criterion: Callable[[Tensor, Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]
) -> None:
    """Set the logits of all weights' precisions to minus the estimated rise of the loss, in units of its median.

    Args:
        network: calibrated; nothing but logits changes.
        criterion: from (output, target) to the mean loss.
        batches: pairs of input and target; a few hundred samples are enough.

    Raises:
        UsageError: no batch.
    """
    layers = {key: layer for key, layer in network.layers.items() if isinstance(layer, MixedLayer)}
    rises = {key: torch.zeros(len(layer.choice.precisions), len(layer.bias)) for key, layer in layers.items()}
    errors = {key: _errors(layer) for key, layer in layers.items()}
    seen = 0
    with network.decided():
        for x, y in batches:
            for images, targets in zip(torch.split(x, MICROBATCH), torch.split(y, MICROBATCH), strict=True):
                network.zero_grad(set_to_none=True)
                torch.autograd.backward(criterion(network(images), targets))
                seen += 1
                for key, layer in layers.items():
                    rises[key] += _products(layer, errors[key]).square().to(rises[key])
        network.zero_grad(set_to_none=True)
    if seen == 0:
        raise UsageError("nothing to rank precisions with", got="no batch", expected="at least one")
    least = [rises[key][1 if layer.prunes else 0] for key, layer in layers.items()]
    unit = float(torch.cat(least).median().clamp(min=1e-30)) if least else 1.0
    with torch.no_grad():
        for key, layer in layers.items():
            alpha = layer.choice.alpha
            rise = rises[key] if alpha.dim() == 2 else rises[key].sum(1)
            alpha.copy_(-rise.to(alpha) / unit)


@torch.no_grad()
def _errors(layer: MixedLayer) -> list[Tensor]:
    """Rounding errors of the weights, by precision; for 0 bits the weights."""
    shape = (-1, *(1,) * (layer.weight.dim() - 1))
    scales = torch.exp(layer.log_step).view_as(layer.low)
    found = [-layer.weight] if layer.prunes else []
    for scale, low, high in zip(scales, layer.low, layer.high, strict=True):
        codes = torch.clamp(torch.round(layer.weight / scale.view(shape)), low.view(shape), high.view(shape))
        found.append(codes * scale.view(shape) - layer.weight)
    return found


@torch.no_grad()
def _products(layer: MixedLayer, errors: list[Tensor]) -> Tensor:
    """Gradient times error, ``(P, C)``."""
    if layer.weight.grad is None:
        return torch.zeros(len(errors), len(layer.bias))
    found = torch.stack([(layer.weight.grad * error).flatten(1).sum(1) for error in errors])
    if layer.prunes and layer.bias.grad is not None:
        found[0] -= layer.bias.grad * layer.bias
    return found
