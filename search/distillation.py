# SPDX-License-Identifier: Apache-2.0
"""Learning from a trained network's answers besides the targets: what a search has made small keeps more of them.

    both = Distillation(criterion, seed)
    train_epoch(model, both.batches(loader), both, optimizer)

`Distillation` has the formula and its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plinio_deploy.errors import UsageError


class Answers(NamedTuple):
    """Targets of a batch, and what the teacher says about the same inputs.

    Attributes:
        target: as the data gives it.
        logits: ``(N, classes)``.
    """

    target: Any
    logits: Tensor

    def to(self, device: torch.device | str) -> Answers:
        """Both on a device."""
        return Answers(self.target.to(device), self.logits.to(device))


class Distillation:
    """A task's loss and the distance from a teacher's softened probabilities.

    The loss is ``(1 - w) task + w T^2 KL(softmax(t / T) || softmax(s / T))`` of logits s and the teacher's t
    (G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2: the gradient of
    the soft part shrinks with T^2).

    Args:
        criterion: the task's loss, from (output, target).
        teacher: a trained classifier; runs in eval mode, is never trained, and stays on its device.
        weight: w, from 0 to 1.
        temperature: T, above 0.

    Raises:
        UsageError: weight or temperature out of range.
    """

    def __init__(
        self, criterion: Callable[[Any, Any], Tensor], teacher: nn.Module, weight: float = 0.7, temperature: float = 4.0
    ) -> None:
        if not 0.0 <= weight <= 1.0:
            raise UsageError("The weight of a teacher is a share of the loss", got=weight, expected="from 0 to 1")
        if not 0.0 < temperature < float("inf"):
            raise UsageError("A temperature softens probabilities", got=temperature, expected="above 0, and finite")
        self.criterion, self.teacher = criterion, teacher
        self.weight, self.temperature = weight, temperature

    @torch.no_grad()
    def answers(self, x: Any, target: Any) -> Answers:
        """Ask the teacher about one batch.

        Args:
            x: what the model in training gets, augmented alike.
            target: of the same samples.
        """
        training = self.teacher.training
        self.teacher.eval()
        try:
            return Answers(target, self.teacher(x))
        finally:
            self.teacher.train(training)

    def batches(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Answers]]:
        """The same batches with the teacher's answers."""
        for x, target in batches:
            yield x, self.answers(x, target)

    def __call__(self, output: Any, answers: Answers) -> Tensor:
        """The loss of one batch.

        Args:
            output: logits ``(N, classes)`` of the model in training.
            answers: from `answers` or `batches`.

        Raises:
            UsageError: the output is no tensor of the shape of the teacher's.
        """
        logits = answers.logits
        if not isinstance(output, Tensor) or _shape(output) != _shape(logits):
            raise UsageError(
                "A teacher and what learns from it answer alike",
                got=_shape(output),
                expected=f"{_shape(logits)} as the teacher's",
                hints=("Learn from a teacher in classification only: one tensor of logits.",),
            )
        soft, hard = self.weight, 1.0 - self.weight
        scaled = functional.log_softmax(output / self.temperature, 1)
        wanted = functional.log_softmax(logits / self.temperature, 1)
        distance = functional.kl_div(scaled, wanted, reduction="batchmean", log_target=True)
        return hard * self.criterion(output, answers.target) + soft * self.temperature**2 * distance


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
