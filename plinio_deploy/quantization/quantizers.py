# SPDX-License-Identifier: Apache-2.0
"""Fake-quantizers: real numbers in, the nearest representable real numbers out, trainable through the rounding.

The arithmetic and its gradients are in `fused`. Steps are learned in the logarithm, so they stay positive and a
learning rate means a relative change.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.fused import mix_channels, quantize_tensor

BIT_WIDTHS = (2, 4, 8)
AT_ONCE = 1 << 18
"""Elements that the search for a step handles at once."""


def check_bits(bits: int, where: str) -> None:
    """Refuse bit widths that no kernel exists for."""
    if bits not in BIT_WIDTHS:
        raise UsageError("unknown bit width", where=where, got=bits, expected="2, 4 or 8")


class WeightQuantizer(nn.Module):
    """Symmetric weights, a bit width and a step per output channel; codes in ``[-2^(b-1), 2^(b-1) - 1]``.

    A channel of 0 bits has the code 0 only.

    Args:
        bits: width of each output channel.
        weight: the weights to start from, ``(C_out, ...)``; each step is chosen to minimise the squared error.
        learned: whether steps are trained.
        narrow: widths whose least code is left out; 2-bit weights become ternary.
        shared: whether channels of one width have one step, instead of one each.
    """

    low: Tensor
    high: Tensor
    group: Tensor

    def __init__(
        self,
        bits: Sequence[int],
        weight: Tensor,
        *,
        learned: bool = True,
        narrow: Collection[int] = (),
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.shared = shared
        for width in bits:
            if width != 0:
                check_bits(width, "a weight quantizer")
        self.bits = tuple(bits)
        widths = torch.tensor(self.bits, dtype=torch.float32)
        left_out = torch.tensor([float(width in narrow) for width in self.bits])
        self.register_buffer("low", torch.where(widths > 0, left_out - 2.0 ** (widths - 1), 0.0))
        self.register_buffer("high", torch.where(widths > 0, 2.0 ** (widths - 1) - 1, 0.0))
        known = sorted(set(self.bits))
        group = [known.index(width) for width in self.bits] if shared else range(len(self.bits))
        self.register_buffer("group", torch.tensor(list(group)), persistent=False)
        held = weight.detach()
        step = self._chosen(held, len(known)) if shared else choose_weight_step(held, self.low, self.high)
        self.log_step = nn.Parameter(torch.log(step), requires_grad=learned)

    def _chosen(self, weight: Tensor, groups: int) -> Tensor:
        """The step of each group, ``(groups,)``, chosen as if it were one channel."""
        found = []
        for index in range(groups):
            taken = self.group == index
            flat = weight[taken.to(weight.device)].reshape(1, -1)
            found.append(choose_weight_step(flat, self.low[taken][:1], self.high[taken][:1]))
        return torch.cat(found)

    @property
    def scale(self) -> Tensor:
        """Step of each output channel, ``(C_out,)``."""
        return torch.exp(self.log_step[self.group] if self.shared else self.log_step)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on its grid."""
        return mix_channels(weight, self.scale.unsqueeze(0), None, self.low.unsqueeze(0), self.high.unsqueeze(0))

    def codes(self, weight: Tensor) -> Tensor:
        """Integer codes as int8, of the weight's shape."""
        shape = (-1, *(1,) * (weight.dim() - 1))
        with torch.no_grad():
            rounded = torch.round(weight / self.scale.view(shape))
            return torch.clamp(rounded, self.low.view(shape), self.high.view(shape)).to(torch.int8)

    def raise_steps(self, floor: Tensor) -> None:
        """Make every step at least ``floor`` (``(C_out,)``): keeps biases of tiny weights within the accumulator."""
        with torch.no_grad():
            least = torch.log(floor.to(self.log_step))
            if self.shared:
                none = torch.full_like(self.log_step, -math.inf)
                least = none.scatter_reduce(0, self.group, least, "amax")
            self.log_step.copy_(torch.maximum(self.log_step, least))


def choose_weight_step(weight: Tensor, low: Tensor, high: Tensor, candidates: int = 120) -> Tensor:
    """Per-channel step with the least squared rounding and saturation error.

    Args:
        weight: ``(C_out, ...)``.
        low: least code of each channel, ``(C_out,)``.
        high: greatest code of each channel.
        candidates: steps tried, from a fifth of the step at which ``|low|`` reaches the largest weight to twice it.

    Returns:
        ``(C_out,)`` positive steps; all-zero channels and those of one code get the median step of the others, or 1.
    """
    flat = weight.reshape(weight.shape[0], -1).double()
    peak = torch.where(low < 0, flat.abs().amax(dim=1), 0.0)
    low, high = torch.where(low < 0, low, -1.0), torch.where(low < 0, high, 1.0)
    unit = peak / -low.double()
    exact = -low.double() / high.double()  # the positive end reaches the largest weight
    factors = torch.logspace(math.log10(0.2), math.log10(2.0), candidates, dtype=torch.float64, device=flat.device)
    trials = unit * torch.cat([exact.unsqueeze(0), factors.unsqueeze(1).expand(-1, len(unit))])
    trials = torch.where(trials > 0, trials, 1.0)
    low2, high2 = low.double().unsqueeze(1), high.double().unsqueeze(1)
    errors = []
    for several in torch.split(trials, max(1, AT_ONCE // max(1, flat.numel()))):
        steps = several.unsqueeze(2)
        codes = (flat / steps).round_().clamp_(low2, high2)
        errors.append(codes.mul_(steps).sub_(flat).square_().sum(dim=2))
    step = trials.gather(0, torch.cat(errors).argmin(0, keepdim=True))[0]
    used = step[peak > 0]
    fallback = used.median() if used.numel() else torch.tensor(1.0, dtype=torch.float64)
    return torch.where(peak > 0, step, fallback).float()


def clip_steps(bits: int, *, signed: bool) -> int:
    """Steps between 0 and the clip of an activation: ``2^b - 1`` unsigned, ``2^(b-1)`` signed."""
    return 1 << (bits - 1) if signed else (1 << bits) - 1


class ActivationQuantizer(nn.Module):
    """Activations with a learned clip and zero point 0: unsigned ``[0, clip]``, or signed ``[-clip, clip)``.

    The step is ``clip / (2^b - 1)`` if unsigned and ``clip / 2^(b-1)`` if signed, so that every code is reachable.

    Args:
        bits: 2, 4 or 8.
        signed: whether negative values can occur.
    """

    low: Tensor
    high: Tensor
    zero_point: int = 0

    def __init__(self, bits: int, *, signed: bool) -> None:
        super().__init__()
        check_bits(bits, "an activation quantizer")
        self.bits = bits
        self.signed = signed
        self.steps = clip_steps(bits, signed=signed)
        self.limits = (-self.steps, self.steps - 1) if signed else (0, self.steps)
        self.register_buffer("low", torch.tensor(float(self.limits[0])))
        self.register_buffer("high", torch.tensor(float(self.limits[1])))
        self.log_clip = nn.Parameter(torch.zeros(()))

    @property
    def clip(self) -> Tensor:
        """Greatest magnitude that is not saturated."""
        return torch.exp(self.log_clip)

    @property
    def scale(self) -> Tensor:
        """Step between neighbouring codes."""
        return torch.exp(self.log_clip) / self.steps

    def set_clip(self, clip: float) -> None:
        """Set the clip; calibration calls this."""
        with torch.no_grad():
            self.log_clip.fill_(math.log(max(clip, 1e-12)))

    def forward(self, x: Tensor, low: float = -math.inf, high: float = math.inf) -> Tensor:
        """Saturate to ``[low, high]`` and round to the grid."""
        return _quantize_between(self, x, low, high)


class InputQuantizer(nn.Module):
    """The network's input: a fixed affine grid over a known range, which is widened to hold 0.

    Args:
        bits: 2, 4 or 8.
        limits: least and greatest real input.
    """

    low: Tensor
    high: Tensor
    step: Tensor

    def __init__(self, bits: int, limits: tuple[float, float]) -> None:
        super().__init__()
        check_bits(bits, "an input quantizer")
        least, greatest = min(0.0, limits[0]), max(0.0, limits[1])
        if not (math.isfinite(least) and math.isfinite(greatest) and limits[0] < limits[1]):
            raise UsageError(
                "bad input range", where="input_range", got=limits, expected="(low, high), low < high, finite"
            )
        self.bits = bits
        self.signed = limits[0] < 0
        qmin = -(1 << (bits - 1)) if self.signed else 0
        qmax = qmin + (1 << bits) - 1
        step = (greatest - least) / (qmax - qmin)
        self.zero_point = min(qmax, max(qmin, qmin + round(-least / step)))
        self.limits = (qmin, qmax)
        self.register_buffer("low", torch.tensor(float(qmin)))
        self.register_buffer("high", torch.tensor(float(qmax)))
        self.register_buffer("step", torch.tensor(step))

    @property
    def scale(self) -> Tensor:
        """Step between neighbouring codes."""
        return self.step

    def forward(self, x: Tensor, low: float = -math.inf, high: float = math.inf) -> Tensor:
        """Saturate to ``[low, high]`` and round to the grid."""
        return _quantize_between(self, x, low, high)


Quantizer = ActivationQuantizer | InputQuantizer


def clamp_codes(quantizer: Quantizer, low: float, high: float) -> tuple[int, int]:
    """Least and greatest code for values saturated to ``[low, high]``: the one rule that integerization uses too."""
    return saturated_codes(quantizer.limits, quantizer.zero_point, quantizer.scale, low, high)


def saturated_codes(
    limits: tuple[int, int], zero_point: int, scale: Tensor, low: float, high: float
) -> tuple[int, int]:
    """The same for a grid given by its range of codes, zero point and step (0-dim)."""
    qmin, qmax = limits
    step = (
        1.0 if low in (0.0, -math.inf) and high == math.inf else float(scale.detach())
    )  # without waiting for a device
    least = qmin if low == -math.inf else min(qmax, max(qmin, zero_point + round(low / step)))
    greatest = qmax if high == math.inf else min(qmax, max(qmin, zero_point + round(high / step)))
    return least, max(least, greatest)


def _quantize_between(quantizer: Quantizer, x: Tensor, low: float, high: float) -> Tensor:
    least, greatest = clamp_codes(quantizer, low, high)
    zero_point = quantizer.zero_point
    return quantize_tensor(x, quantizer.scale, (least - zero_point, greatest - zero_point))
