# SPDX-License-Identifier: Apache-2.0
"""Weighted sums of branch outputs that keep only what their gradients need.

``sum(theta[i] * output[i])`` written with torch's operators keeps one product per branch and reads every output
three times. The two functions here keep the outputs alone (most of which the branches keep anyway), and skip what a
zero weight or a frozen operand makes superfluous. Both can be differentiated twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


def mix(theta: Tensor, outputs: Sequence[Tensor], base: Tensor | None = None) -> Tensor:
    """``base + sum_i theta[i] * outputs[i]``.

    Args:
        theta: weights, shape (n,); an exact 0 costs no pass over its output.
        outputs: n tensors of one shape.
        base: a tensor of that shape that is added, or ``None``.
    """
    result: Tensor = _Mix.apply(theta, base, *outputs)  # type: ignore[no-untyped-call]
    return result


def compare(chosen: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """``chosen`` itself, with a gradient for ``weight`` as if ``weight * (other - chosen)`` were added to it.

    Args:
        chosen: output of the path that ran.
        other: output of a path that was only looked at; gets no gradient.
        weight: scalar that carries the gradient towards the selection; its value does not matter.
    """
    result: Tensor = _Compare.apply(chosen, other.detach() - chosen.detach(), weight)  # type: ignore[no-untyped-call]
    return result


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, base: Tensor | None, *outputs: Tensor) -> Tensor:
        weights: list[float] = theta.detach().tolist()
        total = outputs[0] * weights[0] if base is None else base.add(outputs[0], alpha=weights[0])
        for weight, output in zip(weights[1:], outputs[1:], strict=True):
            if weight != 0:
                total.add_(output, alpha=weight)
        ctx.weights = weights
        ctx.has_base = base is not None
        ctx.save_for_backward(theta, *(outputs if ctx.needs_input_grad[0] else ()))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        theta, *outputs = ctx.saved_tensors
        need_theta, _, *need = ctx.needs_input_grad
        grad_theta = None
        if need_theta:
            grad_theta = torch.stack([inner(grad, output) for output in outputs]).to(theta.dtype)
        if torch.is_grad_enabled():  # differentiated again: theta must stay a tensor
            grad_outputs = [grad * theta[i] if needed else None for i, needed in enumerate(need)]
        else:
            grad_outputs = [grad * ctx.weights[i] if needed else None for i, needed in enumerate(need)]
        return grad_theta, grad if ctx.has_base else None, *grad_outputs


class _Compare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, chosen: Tensor, difference: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(difference, weight)
        return chosen.view_as(chosen)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        difference, weight = ctx.saved_tensors
        return grad, None, inner(grad, difference).to(weight.dtype).view_as(weight)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of two tensors of one shape, a scalar; no product of their size is stored where possible."""
    if a.dtype == b.dtype and a.is_contiguous() and b.is_contiguous():
        return torch.dot(a.view(-1), b.view(-1))
    return (a * b).sum()
