# SPDX-License-Identifier: Apache-2.0
"""Optimizers of the benchmarks: Muon for dense weights, AdamW for all else.

Muon (K. Jordan, 2024) makes each update of a matrix orthogonal. A short training gets about as far with it as one of
three times as many epochs with AdamW, so that comparisons at a small budget are less about who learns fastest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MUON_RATE = 2e-2
ADAM_RATE = 5e-3
MUON_DECAY = 0.1
"""Decoupled, times the learning rate."""


class MuonAdam(torch.optim.Optimizer):
    """torch's Muon, which takes matrices only, on convolutions with several inputs per output; AdamW on the rest.

    Momenta are in `parts`: what this optimizer itself would save is empty.

    Args:
        parameters: weights of dense convolutions are seen as matrices, one row per output channel.
        scale: of both learning rates.

    Attributes:
        parts: both optimizers. Every group of parameters has its ``initial_lr``.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], scale: float = 1.0) -> None:
        given = list(parameters)
        self._dense = [p for p in given if p.ndim == 4 and p[0].numel() > p.shape[2] * p.shape[3]]
        dense = {id(p) for p in self._dense}
        self._views = [nn.Parameter(p.detach().view(len(p), -1)) for p in self._dense]
        rest = [p for p in given if id(p) not in dense]
        self.parts: list[torch.optim.Optimizer] = []
        if self._views:
            rate = scale * MUON_RATE
            self.parts.append(
                torch.optim.Muon(self._views, lr=rate, weight_decay=MUON_DECAY, adjust_lr_fn="original", ns_steps=4)
            )
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr=scale * ADAM_RATE, weight_decay=0.0))
        super().__init__(given, {})
        self.param_groups = list(itertools.chain.from_iterable(part.param_groups for part in self.parts))
        for group in self.param_groups:
            group["initial_lr"] = group["lr"]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for parameter in self._dense:
            parameter.grad = None
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        """One step of both; parameters without a gradient stay."""
        assert closure is None
        for parameter, view in zip(self._dense, self._views, strict=True):
            gradient: Tensor | None = parameter.grad
            view.data = parameter.detach().view(view.shape)  # a model may get other storage, as when it moves
            view.grad = None if gradient is None else gradient.reshape(view.shape)
        for part in self.parts:
            part.step()
