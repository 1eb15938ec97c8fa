# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plinio_deploy.search.methods.supernet import mixing


def tensors(n: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(n)]


@pytest.mark.parametrize("based", [False, True])
def test_mix_is_the_weighted_sum(based: bool) -> None:
    theta = torch.tensor([0.5, 0.0, 0.3], dtype=torch.float64).requires_grad_()
    outputs, base = tensors(3, 2, 4), tensors(4, 2, 4)[3] if based else None
    expected = sum((t * o for t, o in zip(theta, outputs, strict=True)), torch.zeros(()) if base is None else base)
    torch.testing.assert_close(mixing.mix(theta, outputs, base), expected)


@pytest.mark.parametrize("based", [False, True])
def test_mix_has_the_gradients_of_the_weighted_sum_twice_over(based: bool) -> None:
    theta = torch.tensor([0.5, 0.1, 0.3], dtype=torch.float64).requires_grad_()
    outputs, base = tensors(3, 2, 3), tensors(4, 2, 3)[3:] if based else []

    def function(theta: Tensor, *rest: Tensor) -> Tensor:
        return mixing.mix(theta, rest[:3], rest[3] if based else None)

    assert torch.autograd.gradcheck(function, (theta, *outputs, *base))
    assert torch.autograd.gradgradcheck(function, (theta, *outputs, *base))


def test_mix_takes_outputs_without_a_gradient() -> None:
    theta = torch.tensor([0.5, 0.5]).requires_grad_()
    first, second = torch.ones(3), torch.full((3,), 2.0)
    torch.autograd.backward(mixing.mix(theta, [first, second]).sum())
    assert theta.grad is not None
    assert theta.grad.tolist() == [3, 6]


def test_mix_does_not_change_what_it_is_given() -> None:
    outputs, base = tensors(2, 3), torch.ones(3, dtype=torch.float64)
    before = [o.detach().clone() for o in outputs]
    mixing.mix(torch.tensor([0.5, 0.5], dtype=torch.float64), outputs, base)
    assert torch.equal(base, torch.ones(3, dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(before, outputs, strict=True))


def test_mix_works_on_transposed_gradients_and_half_precision() -> None:
    theta = torch.tensor([0.5, 0.5]).requires_grad_()
    a, b = torch.randn(4, 6).bfloat16(), torch.randn(4, 6).bfloat16()
    out = mixing.mix(theta, [a, b])
    assert out.dtype == torch.bfloat16
    torch.autograd.backward(out.t().float().square().sum())
    assert theta.grad is not None
    assert theta.grad.dtype == torch.float32


def test_compare_is_the_chosen_output_and_grades_the_other() -> None:
    chosen, other = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([4.0, 4.0], requires_grad=True)
    weight = torch.tensor(0.7, requires_grad=True)
    out = mixing.compare(chosen, other, weight)
    assert torch.equal(out, chosen)
    torch.autograd.backward((out * torch.tensor([1.0, 10.0])).sum())
    assert weight.grad is not None
    assert float(weight.grad) == 1 * (4 - 1) + 10 * (4 - 2)
    assert chosen.grad is not None
    assert chosen.grad.tolist() == [1, 10]
    assert other.grad is None
