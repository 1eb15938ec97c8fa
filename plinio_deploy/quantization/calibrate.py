# SPDX-License-Identifier: Apache-2.0
"""Choosing the clips of activation quantizers from what they would see."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from plinio_deploy.quantization.quantizers import ActivationQuantizer

Method = Literal["mse", "percentile", "max"]
PER_BATCH = 1 << 13
"""Values kept of each batch, evenly spread."""
PERCENTILE = 0.9999


class Observer:
    """Keeps an evenly spread sample of the values of one quantizer, and their extremes."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def see(self, values: Tensor) -> None:
        """Take note of a batch."""
        flat = values.detach().reshape(-1).float().cpu()
        step = max(1, flat.numel() // PER_BATCH)
        self._kept.append(flat[::step].clone())
        self._kept.append(torch.stack((flat.min(), flat.max())))

    def values(self) -> Tensor:
        """All that was kept."""
        return torch.cat(self._kept) if self._kept else torch.zeros(1)


def choose_clip(quantizer: ActivationQuantizer, values: Tensor, method: Method) -> float:
    """The clip for a quantizer that sees ``values``.

    Args:
        quantizer: gives width and signedness.
        values: a sample of what it sees, flat.
        method: ``mse``: least squared error; ``percentile``: the `PERCENTILE` quantile of the magnitude; ``max``: no
            saturation.
    """
    sample = values.double()
    magnitude = sample.abs() if quantizer.signed else sample.clamp(min=0.0)
    peak = float(magnitude.max())
    if peak == 0.0:
        return 1.0
    if method == "max":
        return peak
    if method == "percentile":
        ordered = torch.sort(magnitude).values
        return max(float(ordered[min(len(ordered) - 1, int(PERCENTILE * len(ordered)))]), peak * 1e-3)
    best, clip = float("inf"), peak
    low, high = float(quantizer.low), float(quantizer.high)
    widest = quantizer.steps / max(high, 1.0)  # a signed grid's positive end is one step short of its clip
    for factor in torch.linspace(0.1, 1.0, 91, dtype=torch.float64).tolist():
        trial = peak * widest * factor
        step = trial / quantizer.steps
        error = float((torch.clamp(torch.round(sample / step), low, high) * step - sample).square().mean())
        if error < best:
            best, clip = error, trial
    return clip
