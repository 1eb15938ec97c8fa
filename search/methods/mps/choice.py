# SPDX-License-Identifier: Apache-2.0
"""The selection of one precision out of several, for a tensor or for each of its channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plinio_deploy.search.methods.supernet.selection import Selection, gumbel_noise


class Choice(Selection):
    """Logits of precisions; a larger logit means a likelier precision.

    Args:
        precisions: bits, ascending.
        channels: ``None`` for one choice, else one per channel.

    Attributes:
        alpha: ``(P,)`` or ``(P, C)``, initially each precision divided by the largest.
    """

    def __init__(self, precisions: Sequence[int], channels: int | None = None) -> None:
        super().__init__()
        self.precisions = tuple(precisions)
        start = torch.tensor([bits / max(self.precisions) for bits in self.precisions])
        self.alpha = nn.Parameter(start if channels is None else start.unsqueeze(1).repeat(1, channels))
        self._noise: Tensor | None = None
        self._held: Tensor | None = None

    @property
    def soft(self) -> bool:
        """Whether it is a mixture at present: in training, unless ``hard_softmax``."""
        return self.training and not self.hard_softmax

    def draw(self) -> None:
        """Draw new noise, if any is asked for; once per step."""
        noisy = self.training and self.gumbel_softmax and self._held is None
        self._noise = gumbel_noise(self.alpha) if noisy else None

    def logits(self) -> Tensor:
        """``(alpha + noise) / temperature``, with the noise of the last `draw`; of ``alpha``'s shape."""
        if self._held is not None and self.training:
            return self._held.to(self.alpha) / self.temperature
        noisy = self.alpha if self._noise is None or not self.training else self.alpha + self._noise.to(self.alpha)
        return noisy / self.temperature

    def theta(self) -> Tensor:
        """Weights of the precisions, of ``alpha``'s shape: sum to 1, exactly one-hot in eval mode and when hard."""
        return probabilities(self.logits(), soft=self.soft)

    def best(self) -> Tensor:
        """Index of the largest alpha, 0-dim or ``(C,)``."""
        return torch.argmax(self.alpha.detach(), 0)

    def update_softmax_options(
        self,
        temperature: float | None = None,
        hard: bool | None = None,
        gumbel: bool | None = None,
        disable_sampling: bool | None = None,
        single_path: bool | None = None,
    ) -> None:
        """Change how precisions are selected in training; what is not given stays as it is.

        Args:
            temperature: positive.
            hard: the likeliest precision alone, with the gradient of the mixture.
            gumbel: with Gumbel noise.
            disable_sampling: thetas stay what they are, without a gradient.
            single_path: of no meaning here; accepted so that the call can go to all selections of a model.

        Raises:
            UsageError: the temperature is not positive.
        """
        del single_path
        self.set_softmax(temperature, hard, gumbel)
        if disable_sampling is not None:
            noisy = self.alpha if self._noise is None else self.alpha + self._noise
            self._held = noisy.detach().clone() if disable_sampling else None


def probabilities(logits: Tensor, *, soft: bool) -> Tensor:
    """Softmax over the first axis; if not ``soft``, one-hot with the gradient of the softmax (straight-through)."""
    theta = torch.softmax(logits, 0)
    if soft:
        return theta
    one_hot = torch.zeros_like(theta).scatter_(0, logits.detach().argmax(0, keepdim=True), 1.0)
    return one_hot + (theta - theta.detach())
