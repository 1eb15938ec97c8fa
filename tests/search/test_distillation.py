# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from plinio_deploy.errors import UsageError
from plinio_deploy.search.distillation import Answers, Distillation
from plinio_deploy.search.training import train_epoch


def test_the_loss_is_the_papers() -> None:
    both = Distillation(functional.cross_entropy, nn.Identity(), weight=0.25, temperature=2.0)
    output, said = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0 * math.log(3.0), 0.0]])
    # The teacher's probabilities at T = 2 are 3/4 and 1/4, the model's 1/2 each.
    distance = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    expected = 0.75 * math.log(2.0) + 0.25 * 4.0 * distance
    assert both(output, Answers(torch.tensor([1]), said)).item() == pytest.approx(expected)


def test_agreement_costs_nothing_and_disagreement_pulls_towards_the_teacher() -> None:
    both = Distillation(functional.cross_entropy, nn.Identity(), weight=1.0)
    said = torch.randn(5, 3)
    same = said.clone().requires_grad_()
    assert both(same, Answers(torch.zeros(5, dtype=torch.long), said)).item() == pytest.approx(0.0, abs=1e-6)
    other = torch.zeros(5, 3, requires_grad=True)
    both(other, Answers(torch.zeros(5, dtype=torch.long), said)).backward()  # type: ignore[no-untyped-call]
    assert other.grad is not None
    assert (other.grad.argmin(1) == said.argmax(1)).all()


def test_the_teacher_answers_in_eval_mode_and_is_left_as_it_was() -> None:
    teacher = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)).train()
    state = {name: value.clone() for name, value in teacher.state_dict().items()}
    x = torch.randn(6, 4)
    both = Distillation(functional.cross_entropy, teacher)
    ((given, answers),) = both.batches([(x, torch.zeros(6, dtype=torch.long))])
    assert given is x
    assert not answers.logits.requires_grad
    assert teacher.training
    assert all(torch.equal(state[name], value) for name, value in teacher.state_dict().items())
    torch.testing.assert_close(answers.logits, teacher.eval()(x))


def test_it_fits_the_training_loop() -> None:
    torch.manual_seed(0)
    teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    x = torch.randn(64, 4)
    both = Distillation(functional.cross_entropy, teacher, weight=1.0, temperature=1.0)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    losses = [
        train_epoch(student, both.batches([(x, teacher(x).argmax(1))]), both, optimizer, device="cpu")
        for _ in range(50)
    ]
    assert losses[-1] < losses[0] / 10


@pytest.mark.parametrize("bad", [{"weight": -0.1}, {"weight": 1.1}, {"temperature": 0.0}, {"temperature": math.inf}])
def test_numbers_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"weight|temperature"):
        Distillation(functional.cross_entropy, nn.Identity(), **bad)


def test_another_shape_than_the_teachers_is_refused() -> None:
    both = Distillation(functional.cross_entropy, nn.Identity())
    with pytest.raises(UsageError, match="answer alike") as caught:
        both((torch.zeros(2, 3),), Answers(torch.zeros(2), torch.zeros(2, 3)))
    assert "tuple" in str(caught.value)
    with pytest.raises(UsageError, match=r"\(2, 4\)"):
        both(torch.zeros(2, 4), Answers(torch.zeros(2), torch.zeros(2, 3)))
