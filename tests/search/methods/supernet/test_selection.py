# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from plinio_deploy.search.methods.supernet import selection

ALPHA = torch.tensor([0.2, 1.0, -0.5], dtype=torch.float64)


def test_soft_is_the_softmax_of_alpha_over_temperature() -> None:
    assert torch.equal(selection.soft(ALPHA, 0.5), torch.softmax(ALPHA * 2, 0))
    noise = torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.equal(selection.soft(ALPHA, 1.0, noise), torch.softmax(ALPHA + noise, 0))


def test_straight_through_is_exactly_one_hot_and_has_the_softmax_gradient() -> None:
    alpha = torch.randn(7, generator=torch.Generator().manual_seed(3)).requires_grad_()
    theta = selection.straight_through(selection.soft(alpha, 0.3), 2)
    assert theta.tolist() == [0, 0, 1, 0, 0, 0, 0]
    weights = torch.arange(7.0)
    (hard,) = torch.autograd.grad(theta @ weights, alpha)
    (soft,) = torch.autograd.grad(selection.soft(alpha, 0.3) @ weights, alpha)
    assert torch.equal(hard, soft)
    assert float(hard.abs().sum()) > 0


def test_gumbel_noise_makes_argmax_a_draw_from_the_softmax() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(3)
    for _ in range(4000):
        counts[int(torch.argmax(ALPHA + selection.gumbel_noise(ALPHA)))] += 1
    assert torch.allclose(counts / 4000, torch.softmax(ALPHA, 0).float(), atol=0.03)


def test_draw_follows_theta_and_says_with_what_chance() -> None:
    torch.manual_seed(0)
    theta = torch.tensor([0.1, 0.6, 0.3])
    drawn = [selection.draw(theta) for _ in range(4000)]
    assert {(i, round(chance, 6)) for i, chance in drawn} == {(0, 0.1), (1, 0.6), (2, 0.3)}
    assert sum(i == 1 for i, _ in drawn) / 4000 == pytest.approx(0.6, abs=0.03)


def test_draw_of_another_path_leaves_the_chosen_one_out() -> None:
    torch.manual_seed(0)
    theta = torch.tensor([0.1, 0.6, 0.3])
    drawn = [selection.draw(theta, other_than=1) for _ in range(1000)]
    assert {(i, round(chance, 6)) for i, chance in drawn} == {(0, 0.25), (2, 0.75)}


def test_draw_of_another_path_works_when_theta_has_saturated() -> None:
    torch.manual_seed(0)
    drawn = {selection.draw(torch.tensor([0.0, 1.0, 0.0]), other_than=1) for _ in range(50)}
    assert drawn == {(0, 0.5), (2, 0.5)}
