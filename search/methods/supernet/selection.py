# SPDX-License-Identifier: Apache-2.0
"""How selection logits become path weights theta, and how one path is drawn.

All functions take the logits ``alpha`` of shape (n,) and a positive temperature; all of them are differentiable in
``alpha``. Where a value is an exact 0 or 1, the gradient is that of the softmax (straight-through estimator,
Bengio et al. 2013, arXiv 1308.3432).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError


class Selection(nn.Module):
    """A module with logits that select; holds what every selection can be told.

    Attributes:
        temperature: of the softmax, a positive scalar (a buffer: it is part of ``state_dict``), initially 1.
        gumbel_softmax: whether Gumbel noise is added to the logits while training.
        hard_softmax: whether the likeliest alone is taken while training, with the gradient of the mixture.
    """

    temperature: Tensor

    def __init__(self, *, gumbel_softmax: bool = False, hard_softmax: bool = False) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(1.0))
        self.gumbel_softmax = gumbel_softmax
        self.hard_softmax = hard_softmax

    def set_softmax(self, temperature: float | None, hard: bool | None, gumbel: bool | None) -> None:
        """Change these three; what is ``None`` stays as it is.

        Raises:
            UsageError: the temperature is not positive.
        """
        if temperature is not None:
            if not temperature > 0:
                raise UsageError("A softmax temperature must be positive", got=temperature, expected="> 0")
            self.temperature.fill_(temperature)
        if hard is not None:
            self.hard_softmax = hard
        if gumbel is not None:
            self.gumbel_softmax = gumbel


def soft(alpha: Tensor, temperature: Tensor | float, noise: Tensor | None = None) -> Tensor:
    """Theta = softmax((alpha + noise) / temperature), shape (n,), sums to 1."""
    logits = alpha if noise is None else alpha + noise
    return torch.softmax(logits / temperature, dim=0)


def straight_through(theta: Tensor, index: int) -> Tensor:
    """Exactly one-hot at ``index``, with the gradient of ``theta``.

    The bracket is an exact zero, so the result holds exact zeros and ones: ``(1 + theta) - theta`` would not.
    """
    one_hot = torch.zeros_like(theta)
    one_hot[index] = 1
    return one_hot + (theta - theta.detach())


def gumbel_noise(alpha: Tensor) -> Tensor:
    """Fresh standard Gumbel noise like ``alpha``, without a gradient.

    With it :func:`soft` is the Gumbel-softmax relaxation (Jang et al. 2017, arXiv 1611.01144).
    """
    return -torch.empty_like(alpha, memory_format=torch.contiguous_format).detach().exponential_().log()


def draw(theta: Tensor, other_than: int | None = None) -> tuple[int, float]:
    """Draw one path with probability ``theta``.

    Args:
        theta: probabilities, shape (n,).
        other_than: a path that must not be drawn; the others keep their proportions.

    Returns:
        The path, and the probability with which it was drawn.
    """
    weights = theta.detach().to(device="cpu", dtype=torch.float64)
    if other_than is not None:
        weights[other_than] = 0
        if not float(weights.sum()) > 0:  # theta is one-hot in floating point: every other path is as likely
            weights = torch.ones_like(weights)
            weights[other_than] = 0
    weights = weights / weights.sum()
    index = int(torch.multinomial(weights, 1))
    return index, float(weights[index])
