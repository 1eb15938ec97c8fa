# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from plinio_deploy.search.methods.mps.choice import Choice

BITS = (2, 4, 8)


def test_it_starts_in_favour_of_many_bits() -> None:
    assert Choice(BITS).alpha.tolist() == [0.25, 0.5, 1.0]
    assert Choice(BITS, 5).alpha.shape == (3, 5)


def test_thetas_are_a_softmax_in_training_and_one_hot_in_eval_mode() -> None:
    choice = Choice(BITS, 4)
    choice.update_softmax_options(temperature=0.5)
    torch.testing.assert_close(choice.theta(), torch.softmax(choice.alpha * 2, 0))
    choice.eval()
    theta = choice.theta()
    assert theta.detach().tolist() == [[0.0] * 4, [0.0] * 4, [1.0] * 4]
    (grad,) = torch.autograd.grad(theta[0].sum(), choice.alpha)
    assert bool((grad[0] > 0).all())  # straight through


def test_hard_thetas_are_one_hot_with_the_gradient_of_the_softmax() -> None:
    choice, soft = Choice(BITS), Choice(BITS)
    choice.update_softmax_options(hard=True)
    price = torch.tensor([2.0, 4.0, 8.0])
    assert float((choice.theta() @ price).detach()) == 8.0
    wanted = torch.autograd.grad(soft.theta() @ price, soft.alpha)
    torch.testing.assert_close(torch.autograd.grad(choice.theta() @ price, choice.alpha), wanted)


def test_noise_is_drawn_once_per_step_and_only_in_training() -> None:
    choice = Choice(BITS)
    choice.update_softmax_options(gumbel=True)
    torch.manual_seed(0)
    choice.draw()
    first = choice.theta()
    assert torch.equal(choice.theta(), first)
    choice.draw()
    assert not torch.equal(choice.theta(), first)
    choice.eval()
    assert choice.theta().detach().tolist() == [0.0, 0.0, 1.0]


def test_noise_draws_each_precision_with_its_probability() -> None:
    torch.manual_seed(1)
    choice = Choice(BITS)
    choice.update_softmax_options(gumbel=True, hard=True)
    counts = torch.zeros(3)
    for _ in range(2000):
        choice.draw()
        counts += choice.theta().detach()
    torch.testing.assert_close(counts / 2000, torch.softmax(choice.alpha.detach(), 0), atol=0.04, rtol=0)


def test_without_sampling_thetas_stay() -> None:
    choice = Choice(BITS)
    before = choice.theta().detach()
    choice.update_softmax_options(disable_sampling=True)
    with torch.no_grad():
        choice.alpha.copy_(torch.tensor([3.0, 0.0, 0.0]))
    assert torch.equal(choice.theta(), before)
    assert not choice.theta().requires_grad
    choice.update_softmax_options(disable_sampling=False)
    assert float(choice.theta()[0].detach()) > 0.8


@pytest.mark.parametrize("channels", [None, 3])
def test_the_best_is_the_largest(channels: int | None) -> None:
    choice = Choice(BITS, channels)
    with torch.no_grad():
        choice.alpha[1] = 9.0
    assert set(choice.best().reshape(-1).tolist()) == {1}
