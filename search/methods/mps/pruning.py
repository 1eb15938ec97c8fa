# SPDX-License-Identifier: Apache-2.0
"""0 bits: which channels are kept, decided together for all layers whose channels are tied.

A channel's logit for 0 bits competes with those for the other widths. Where channels of several layers are tied (both
inputs of an add, a depthwise layer and its producer), they live and die together: the logit for 0 bits is the mean over
the layers, and so is what stands against it, the log-sum-exp of the others. A channel tied to no other has exactly the
softmax over all its widths.

The network in training runs with channels that are there or not (straight-through, as PIT does it): a channel scaled to
one half is something that no chip computes, and batch norms, which would make up for it, are folded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plinio_deploy.quantization.channels import TiedChannels

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Keep:
    """What is kept, by component of tied channels.

    Attributes:
        probability: ``(N,)``, differentiable.
        alive: ``(N,)``, 1 or 0; at least one of the components of each layer is alive.
    """

    probability: Tensor
    alive: Tensor

    def straight_through(self) -> Tensor:
        """`alive` with the gradient of `probability`."""
        return self.alive + (self.probability - self.probability.detach())


class Pruning(nn.Module):
    """The components of tied channels that may be pruned, and which layer's channels belong to which.

    Args:
        tied: of the network.
        searched: for each layer the node of the graph that stands for it, and whether its widths include 0.
    """

    free: Tensor

    def __init__(self, tied: TiedChannels, searched: Mapping[str, tuple[str, bool]]) -> None:
        super().__init__()
        count = len(tied.components)
        free = np.array([component.prunable for component in tied.components], dtype=np.bool_)
        members = np.zeros(count)
        for node, prunes in searched.values():
            own = tied.outputs[node]
            if not prunes:
                free[own] = False
            np.add.at(members, own, 1.0)
        self.layers = [name for name, (_, prunes) in searched.items() if prunes]
        for name in self.layers:
            own = tied.outputs[searched[name][0]]
            self.register_buffer(f"of_{name}", torch.from_numpy(own.copy()), persistent=False)
        self.register_buffer("free", torch.from_numpy(free), persistent=False)
        self.register_buffer("members", torch.from_numpy(np.maximum(members, 1.0)).float(), persistent=False)

    def components(self, layer: str) -> Tensor:
        """Component of each output channel of a layer, ``(C,)``."""
        return self.get_buffer(f"of_{layer}")

    def forward(self, logits: Mapping[str, Tensor]) -> Keep:
        """What is kept.

        Args:
            logits: ``(P, C)`` of each of `layers`, the one for 0 bits first.
        """
        members = self.get_buffer("members")
        soft, hard = torch.zeros_like(members), torch.zeros_like(members)
        for name in self.layers:
            own = logits[name]
            soft = soft.index_add(0, self.components(name), torch.logsumexp(own[1:], 0) - own[0])
            hard = hard.index_add(0, self.components(name), own.detach()[1:].amax(0) - own.detach()[0])
        probability = torch.where(self.free, torch.sigmoid(soft / members), 1.0)
        alive = (hard >= 0) | ~self.free
        for name in self.layers:
            own_components = self.components(name)
            if not bool(alive[own_components].any()):
                alive[own_components[hard[own_components].argmax()]] = True
        return Keep(probability, alive.to(members.dtype))


def multiplicities(tied: TiedChannels, nodes: Sequence[str]) -> dict[str, Tensor]:
    """How often each component is among the input channels of a layer, ``(N,)``, by node."""
    count = len(tied.components)
    return {
        node: torch.from_numpy(np.bincount(tied.inputs[node], minlength=count).astype(np.float32)) for node in nodes
    }
