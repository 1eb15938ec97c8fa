# SPDX-License-Identifier: Apache-2.0
"""Fake quantization as single autograd functions that keep only their input, for one precision or a mixture of several.

A tensor under search is ``sum_p theta_p * Q_p(x)``, ``Q_p`` rounding to the grid of precision ``p``. Written with
ordinary operators every ``Q_p(x)`` and its pieces would be kept for the way back. The functions here compute the codes
again instead, one precision at a time.

Gradients are those of learned-step-size quantization (Esser et al., ICLR 2020): straight through where a code is
reached without saturation, none elsewhere; the code minus ``x / s`` inside and the saturated code outside for a step
``s``; ``Q_p(x)`` for ``theta_p``. Gradients of steps are scaled by `step_gain`.

On the CPU a tensor is worked on in pieces that stay in the cache: it is memory traffic that these functions cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

PIECE = 1 << 17
"""Elements per piece and thread."""

Bounds = tuple[tuple[float, float], ...]
"""Least and greatest code per precision, the zero point taken off."""


def step_gain(elements: int, greatest: float) -> float:
    """What the gradient of a step that ``elements`` values share is scaled by: ``1 / sqrt(elements * greatest code)``.

    It makes relative changes of steps about as large as those of weights, whatever the layer's size (same paper).
    """
    return 1.0 / math.sqrt(max(1.0, elements * max(1.0, greatest)))


def quantize_tensor(x: Tensor, scale: Tensor, bounds: tuple[float, float]) -> Tensor:
    """``clamp(rint(x / scale), *bounds) * scale`` for one scale; half to even; differentiable in ``x`` and ``scale``.

    A lower bound of 0 is a ReLU: no gradient flows where ``x <= 0``.

    Args:
        x: any shape; computed in float32 unless it is float64.
        scale: positive, 0-dim.
        bounds: least and greatest code.
    """
    return mix_tensor(x, scale.reshape(1), None, (bounds,))


def mix_tensor(x: Tensor, scales: Tensor, theta: Tensor | None, bounds: Bounds) -> Tensor:
    """``sum_p theta_p * clamp(rint(x / scales_p), *bounds_p) * scales_p``, differentiable in all tensors.

    Args:
        x: any shape; computed in float32 unless it is float64.
        scales: positive, ``(P,)``.
        theta: ``(P,)``; ``None`` for one precision of weight 1.
        bounds: ``P`` pairs. Where all lower ones are 0 no gradient flows for ``x <= 0``.
    """
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = _MixTensor.apply(wide, scales, theta, bounds)  # type: ignore[no-untyped-call]
    return result


def mix_channels(weight: Tensor, scales: Tensor, theta: Tensor | None, low: Tensor, high: Tensor) -> Tensor:
    """The same with a step and a theta for each output channel and precision.

    Args:
        weight: ``(C, ...)``.
        scales: positive, ``(P, C)``.
        theta: ``(P, C)``, or ``None`` for one precision of weight 1.
        low: least codes, ``(P, C)``.
        high: greatest codes, likewise.
    """
    with torch.autocast(weight.device.type, enabled=False):
        result: Tensor = _MixChannels.apply(weight, scales, theta, low, high)  # type: ignore[no-untyped-call]
    return result


class _MixTensor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: Tensor, theta: Tensor | None, bounds: Bounds) -> Tensor:
        ctx.save_for_backward(x, scales, theta)
        ctx.bounds = bounds
        if not _in_pieces(x):
            return _mix_whole(x, scales, theta, bounds)
        dense = _dense(x)
        result = torch.empty_like(dense)
        steps, weights = scales.tolist(), [1.0] if theta is None else theta.tolist()
        used = [p for p, weight in enumerate(weights) if weight != 0.0]
        for flat, out in _pieces(dense, result):
            buffer = torch.empty_like(flat)
            for p in used:
                _codes(flat, steps[p], bounds[p], buffer)
                if p == used[0]:
                    torch.mul(buffer, weights[p] * steps[p], out=out)
                else:
                    out.add_(buffer, alpha=weights[p] * steps[p])
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scales, theta = ctx.saved_tensors
        if not _in_pieces(x):
            return (*_mix_whole_back(grads[0], x, scales, theta, ctx.bounds, ctx.needs_input_grad), None)
        dense = _dense(x)
        grad = _like(grads[0], dense)
        needs_x, needs_scales = ctx.needs_input_grad[:2]
        steps, weights = scales.tolist(), [1.0] if theta is None else theta.tolist()
        grad_x = torch.empty_like(dense) if needs_x else None
        by_code, by_value = [0.0] * len(steps), [0.0] * len(steps)
        for flat, own, out in _pieces(dense, grad, dense if grad_x is None else grad_x):
            buffer = torch.empty_like(flat)
            for p, step in enumerate(steps):
                _codes(flat, step, ctx.bounds[p], buffer)
                by_code[p] += float(torch.dot(own, buffer))
                if not (needs_x or needs_scales):
                    continue
                low, high = _inside(ctx.bounds[p], step)
                torch.ops.aten.hardtanh_backward.grad_input(own, flat, low, high, grad_input=buffer)
                if needs_scales:
                    by_value[p] += float(torch.dot(flat, buffer))
                if needs_x and p == 0:
                    torch.mul(buffer, weights[p], out=out)
                elif needs_x:
                    out.add_(buffer, alpha=weights[p])
        grad_scales, grad_theta = _small_grads(by_code, by_value, steps, weights, ctx.bounds, x.numel())
        return (
            grad_x,
            scales.new_tensor(grad_scales) if needs_scales else None,
            None if theta is None or not ctx.needs_input_grad[2] else theta.new_tensor(grad_theta),
            None,
        )


class _MixChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scales: Tensor, theta: Tensor | None, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scales, theta, low, high)
        result = None
        for p in range(len(scales)):
            step = _column(scales[p], weight)
            part = _clamped_codes(weight, step, _column(low[p], weight), _column(high[p], weight))
            part.mul_(step if theta is None else step * _column(theta[p], weight))
            result = part if result is None else result.add_(part)
        assert result is not None
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, scales, theta, low, high = ctx.saved_tensors
        (grad,) = grads
        rest = tuple(range(1, weight.dim()))
        grad_weight = torch.zeros_like(weight)
        grad_scales, grad_theta = torch.empty_like(scales), torch.empty_like(scales)
        elements = max(1, weight[0].numel())
        for p in range(len(scales)):
            step, least, greatest = (_column(row[p], weight) for row in (scales, low, high))
            ratio = weight / step
            codes = torch.round(ratio).clamp_(least, greatest)
            passed = grad * ((ratio - codes).abs_() <= 0.5)
            by_code = (grad * codes).sum(rest)
            slope = by_code - (passed * ratio).sum(rest)
            weighted = slope if theta is None else slope * theta[p]
            grad_scales[p] = weighted / torch.sqrt(elements * high[p].clamp(min=1.0))
            grad_theta[p] = by_code * scales[p]
            grad_weight.add_(passed if theta is None else passed * _column(theta[p], weight))
        needs = ctx.needs_input_grad
        return (
            grad_weight if needs[0] else None,
            grad_scales if needs[1] else None,
            grad_theta if theta is not None and needs[2] else None,
            None,
            None,
        )


def _codes(x: Tensor, step: float, bounds: tuple[float, float], out: Tensor) -> None:
    torch.mul(x, 1.0 / step, out=out)
    out.clamp_(*bounds)
    out.round_()


def _inside(bounds: tuple[float, float], step: float) -> tuple[float, float]:
    """Between which values a code is reached without saturation; from 0 on under a ReLU."""
    return (0.0 if bounds[0] == 0.0 else (bounds[0] - 0.5) * step, (bounds[1] + 0.5) * step)


def _small_grads(
    by_code: Sequence[float],
    by_value: Sequence[float],
    steps: Sequence[float],
    weights: Sequence[float],
    bounds: Bounds,
    elements: int,
) -> tuple[list[float], list[float]]:
    """Gradients of steps and thetas from the sums ``grad * code`` and, inside, ``grad * x``."""
    grad_scales = [
        weight * (code - value / step) * step_gain(elements, bound[1])
        for code, value, step, weight, bound in zip(by_code, by_value, steps, weights, bounds, strict=True)
    ]
    return grad_scales, [code * step for code, step in zip(by_code, steps, strict=True)]


def _in_pieces(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _is_dense(x: Tensor) -> bool:
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return x.is_contiguous() or last


def _dense(x: Tensor) -> Tensor:
    return x if _is_dense(x) else x.contiguous()


def _like(grad: Tensor, x: Tensor) -> Tensor:
    """``grad`` laid out in memory as ``x``."""
    if grad.stride() == x.stride() and grad.dtype == x.dtype:
        return grad
    return torch.empty_like(x).copy_(grad)


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same stretches of tensors that are laid out alike."""
    count = tensors[0].numel()
    flat = [tensor.as_strided((count,), (1,)) for tensor in tensors]
    piece = PIECE * torch.get_num_threads()
    for start in range(0, count, piece):
        yield tuple(tensor[start : start + piece] for tensor in flat)


def _column(row: Tensor, weight: Tensor) -> Tensor:
    return row.view(-1, *(1,) * (weight.dim() - 1))


def _clamped_codes(x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (x / step).round_().clamp_(low, high)


def _mix_whole(x: Tensor, scales: Tensor, theta: Tensor | None, bounds: Bounds) -> Tensor:
    """The forward pass in plain operators, for devices and compilers: a few kernels that they fuse or run at once."""
    result = torch.zeros_like(x)
    for p, (low, high) in enumerate(bounds):
        codes = torch.round(torch.clamp(x / scales[p], low, high))
        result = result + codes * (scales[p] if theta is None else scales[p] * theta[p])
    return result


def _mix_whole_back(
    grad: Tensor, x: Tensor, scales: Tensor, theta: Tensor | None, bounds: Bounds, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    grad_x = torch.zeros_like(x)
    grad_scales, grad_theta = [], []
    for p, (low, high) in enumerate(bounds):
        ratio = x / scales[p]
        codes = torch.round(torch.clamp(ratio, low, high))
        below = ratio > 0.0 if low == 0.0 else ratio > low - 0.5
        passed = torch.where(below & (ratio < high + 0.5), grad, 0.0)
        weight = 1.0 if theta is None else theta[p]
        by_code = (grad * codes).sum()
        grad_x = grad_x + passed * weight
        grad_scales.append(weight * (by_code - (passed * ratio).sum()) * step_gain(x.numel(), high))
        grad_theta.append(by_code * scales[p])
    return (
        grad_x if needs[0] else None,
        torch.stack(grad_scales) if needs[1] else None,
        torch.stack(grad_theta) if theta is not None and needs[2] else None,
    )
