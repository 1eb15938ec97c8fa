# SPDX-License-Identifier: Apache-2.0
"""Quantizers of several precisions: mixtures in training, the likeliest precision in eval mode.

Each precision has a step of its own, learned as in `plinio_deploy.quantization.quantizers`. While a network runs, `now`
holds the thetas that it drew for this step.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plinio_deploy.quantization.fused import mix_channels, mix_tensor, quantize_tensor
from plinio_deploy.quantization.quantizers import (
    ActivationQuantizer,
    InputQuantizer,
    choose_weight_step,
    saturated_codes,
)
from plinio_deploy.search.methods.mps.choice import Choice


class MixedActivation(nn.Module):
    """Activations of several precisions, each with a learned clip; zero point 0.

    Args:
        choice: of the precision; activations that have to agree share one.
        signed: whether negative values can occur.

    Attributes:
        log_clip: ``(P,)``.
        now: thetas ``(P,)``, while the network runs.
    """

    zero_point = 0

    def __init__(self, choice: Choice, *, signed: bool) -> None:
        super().__init__()
        self.choice = choice
        self.signed = signed
        self.grids = [ActivationQuantizer(bits, signed=signed) for bits in choice.precisions]  # a list: no parts of it
        self.log_clip = nn.Parameter(torch.zeros(len(choice.precisions)))
        self.register_buffer("steps", torch.tensor([float(grid.steps) for grid in self.grids]), persistent=False)
        self.now: Tensor | None = None

    steps: Tensor

    @property
    def scales(self) -> Tensor:
        """Step of each precision, ``(P,)``."""
        return torch.exp(self.log_clip) / self.steps

    @property
    def scale(self) -> Tensor:
        """Step of the likeliest precision, 0-dim."""
        return self.scales[self.index]

    @property
    def index(self) -> int:
        """The likeliest precision."""
        return int(self.choice.best() if self.now is None else self.now.detach().argmax())

    @property
    def bits(self) -> int:
        """Width of the likeliest precision."""
        return self.choice.precisions[self.index]

    def set_clips(self, clips: Sequence[float]) -> None:
        """Set the clip of each precision; calibration calls this."""
        with torch.no_grad():
            self.log_clip.copy_(torch.tensor([math.log(max(clip, 1e-12)) for clip in clips]))

    def forward(self, x: Tensor, low: float = -math.inf, high: float = math.inf) -> Tensor:
        """Saturate to ``[low, high]`` and round to the grids, mixed by the thetas."""
        scales = self.scales
        bounds = [saturated_codes(grid.limits, 0, scales[p], low, high) for p, grid in enumerate(self.grids)]
        if self.now is None or not self.training:
            return quantize_tensor(x, scales[self.index], bounds[self.index])
        return mix_tensor(x, scales, self.now, tuple(bounds))


class MixedInput(nn.Module):
    """The network's input in several precisions, all over the same known range.

    Args:
        choice: of the precision, shared by all inputs of the network.
        limits: least and greatest real input.
    """

    def __init__(self, choice: Choice, limits: tuple[float, float]) -> None:
        super().__init__()
        self.choice = choice
        self.grids = nn.ModuleList(InputQuantizer(bits, limits) for bits in choice.precisions)
        self.now: Tensor | None = None

    @property
    def chosen(self) -> InputQuantizer:
        """That of the likeliest precision."""
        index = int(self.choice.best() if self.now is None else self.now.detach().argmax())
        grid = self.grids[index]
        assert isinstance(grid, InputQuantizer)
        return grid

    @property
    def scale(self) -> Tensor:
        """Step of the likeliest precision."""
        return self.chosen.scale

    @property
    def zero_point(self) -> int:
        """Of the likeliest precision."""
        return self.chosen.zero_point

    @property
    def bits(self) -> int:
        """Width of the likeliest precision."""
        return self.chosen.bits

    def forward(self, x: Tensor, low: float = -math.inf, high: float = math.inf) -> Tensor:
        """Saturate to ``[low, high]`` and round to the grids, mixed by the thetas."""
        if self.now is None or not self.training:
            result: Tensor = self.chosen(x, low, high)
            return result
        parts = [theta * grid(x, low, high) for theta, grid in zip(self.now, self.grids, strict=True)]
        return torch.stack(parts).sum(0)


@dataclass(frozen=True, eq=False)
class WeightTheta:
    """What a layer's weights are made of in one step.

    Attributes:
        rows: ``(P, C)``: weight of each precision but 0 in each channel, given that the channel is kept.
        keep: ``(C,)``: 1 for channels that are kept and 0 for others, with the gradient of their probability; ``None``
            where nothing is pruned.
        keep_probability: ``(C,)``: the probability itself; ``None`` likewise.
    """

    rows: Tensor
    keep: Tensor | None = None
    keep_probability: Tensor | None = None


class MixedLayer(nn.Module):
    """Weight and bias of a conv or linear under search, batch norm folded in.

    Args:
        weight: ``(C_out, ...)``.
        bias: ``(C_out,)``.
        choice: of the precision, of the layer or of each output channel.
        known: steps that were chosen already, ``(C_out,)`` by width.
        learned: whether the steps of the weights are trained.
        narrow: widths whose least code is left out.

    Attributes:
        widths: the precisions without 0.
        log_step: ``(P * C_out,)``, for these, one precision after the other. Flat, as all that should not decay.
        now: while the network runs.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        choice: Choice,
        known: Mapping[int, Tensor],
        *,
        learned: bool,
        narrow: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())
        self.choice = choice
        self.widths = tuple(bits for bits in choice.precisions if bits)
        self.prunes = 0 in choice.precisions
        low, high, steps = [], [], []
        for bits in self.widths:
            least = torch.full((len(weight),), -(2.0 ** (bits - 1)))
            low.append(least + float(bits in narrow))
            high.append(-least - 1)
            steps.append(known[bits] if bits in known else choose_weight_step(weight.detach(), low[-1], high[-1]))
        self.log_step = nn.Parameter(torch.log(torch.cat(steps)), requires_grad=learned)
        self.register_buffer("low", torch.stack(low), persistent=False)
        self.register_buffer("high", torch.stack(high), persistent=False)
        self.now: WeightTheta | None = None

    low: Tensor
    high: Tensor

    def real_weight(self) -> Tensor:
        """The weight before it is quantized, 0 in channels that are pruned."""
        if self.now is None or self.now.keep is None:
            return self.weight
        return self.weight * self.now.keep.view(-1, *(1,) * (self.weight.dim() - 1))

    def real_bias(self) -> Tensor:
        """The bias, 0 in channels that are pruned."""
        return self.bias if self.now is None or self.now.keep is None else self.bias * self.now.keep

    def mask(self) -> Tensor | None:
        """``(C_out,)``, 0 in channels that are pruned and 1 in others, with the gradient; ``None`` without pruning."""
        return None if self.now is None else self.now.keep

    def free_weight(self) -> Tensor:
        """The weight on its grids, mixed by the thetas, as if no channel were pruned; for training."""
        assert self.now is not None
        scales = torch.exp(self.log_step).view_as(self.low)
        return mix_channels(self.weight, scales, self.now.rows.expand_as(scales), self.low, self.high)

    def quantized_weight(self) -> Tensor:
        """The weight on its grids, mixed by the thetas; that of the likeliest precisions in eval mode."""
        assert self.now is not None
        scales = torch.exp(self.log_step).view_as(self.low)
        if self.training:
            rows = self.now.rows if self.now.keep is None else self.now.rows * self.now.keep
            return mix_channels(self.weight, scales, rows.expand_as(scales), self.low, self.high)
        index = self.index().unsqueeze(0)
        alive = self.alive()
        low, high = self.low.gather(0, index) * alive, self.high.gather(0, index) * alive
        return mix_channels(self.weight, scales.gather(0, index), None, low, high)

    def index(self) -> Tensor:
        """The likeliest of `widths` in each channel, ``(C,)``."""
        assert self.now is not None
        return self.now.rows.detach().argmax(0).expand(len(self.bias))

    def alive(self) -> Tensor:
        """1 for channels that are kept, 0 for others, ``(C,)``."""
        assert self.now is not None
        return torch.ones_like(self.bias) if self.now.keep is None else self.now.keep.detach()

    def bits(self) -> tuple[int, ...]:
        """Width of each channel as it stands, 0 where it is pruned."""
        widths = torch.tensor(self.widths, device=self.bias.device)[self.index()] * self.alive().long()
        return tuple(widths.tolist())

    def chosen_log_step(self) -> Tensor:
        """Logarithm of the step of the likeliest precision, ``(C,)``."""
        return self.log_step.detach().view_as(self.low).gather(0, self.index().unsqueeze(0))[0]

    def steps(self, factor: Tensor | None = None) -> Tensor:
        """Step of the likeliest precision; a pruned channel takes the least of the others (as in `QuantLayer`)."""
        scale = torch.exp(self.chosen_log_step())
        scale = scale if factor is None else scale * factor
        if not self.prunes:
            return scale
        alive = self.alive() > 0
        return torch.where(alive, scale, torch.where(alive, scale, torch.inf).min())

    def raise_steps(self, floor: Tensor) -> None:
        """Make every step at least ``floor`` (``(C_out,)``)."""
        with torch.no_grad():
            self.log_step.copy_(
                torch.maximum(self.log_step, torch.log(floor.to(self.log_step)).repeat(len(self.widths)))
            )
