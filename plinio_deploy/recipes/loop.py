# SPDX-License-Identifier: Apache-2.0
"""The training loop behind every phase: float, quantized, and the searches.

Everything random comes from ``seed`` and the epoch's number. A checkpoint after each epoch holds weights, optimizers
and what else a run depends on, so that an interrupted one (Ctrl-C, kill) goes on where it was, to the same bits. No
state of a generator needs to be in it: each epoch seeds its generators anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plinio_deploy.recipe import Data, Recipe, Split, blaming
from plinio_deploy.recipes.batches import as_split, iterate
from plinio_deploy.recipes.checkpoint import read_state, write_state
from plinio_deploy.search.distillation import Distillation

Phase = str
"""``float`` or ``qat``; of a search ``supernet``, ``pit``, ``mps`` and the like."""

EPOCH_SEEDS = 1_000_003
"""Epochs of one seed count from a multiple of this."""


@dataclass(frozen=True)
class Progress:
    """What a training loop reports after each epoch.

    Attributes:
        phase: see `Phase`.
        epoch: epochs done, from 1.
        epochs: epochs in all.
        loss: mean training loss of the epoch, without the price of a search.
        metric: the recipe's metric on the validation set.
        best: the best of these so far.
        costs: of a network under search, as it would be exported now, by name.
    """

    phase: Phase
    epoch: int
    epochs: int
    loss: float
    metric: float
    best: float
    costs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What a training run depends on besides model and data; a checkpoint of other settings is not resumed.

    Attributes:
        phase: see `Phase`.
        epochs: in all.
        lr: first learning rate of the weights; falls along a cosine.
        batch_size: samples per step.
        weight_decay: of weights.
        seed: of everything random.
        goal: what a search aims at, as text; empty for plain training.
        distill: weight of a teacher's answers.
    """

    phase: Phase
    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    seed: int
    goal: str = ""
    distill: float = 0.0


ProgressCallback = Callable[[Progress], None]


class Regularizer(Protocol):
    """The price of a network under search."""

    def __call__(self, model: Any, epoch: int = 1, n_epochs: int = 1) -> Tensor:
        """The term to add to the loss."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What it learned, as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another one stopped."""


@dataclass
class Searching:
    """What makes a training loop a search.

    Attributes:
        optimizer: of masks and selections; keeps its learning rate. ``None`` while the weights train alone.
        regularizer: added to the loss.
        before: called with the number of every epoch before it.
        costs: of the network as it would be exported now; called after every epoch in eval mode.
    """

    optimizer: torch.optim.Optimizer | None = None
    regularizer: Regularizer | None = None
    before: Callable[[int], Any] | None = None
    costs: Callable[[], Mapping[str, float]] | None = None


@contextmanager
def reproducible() -> Iterator[None]:
    """One thread and deterministic algorithms; the caller's settings come back afterwards."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    state = torch.get_rng_state()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_rng_state(state)


def predict(model: nn.Module, split: Split, batch_size: int = 256) -> Any:
    """What a model returns for all samples, in eval mode: one numpy array, or a tuple of them."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            parts = [
                model(torch.from_numpy(split.x[first : first + batch_size]))
                for first in range(0, len(split), batch_size)
            ]
    finally:
        model.train(training)
    if isinstance(parts[0], Tensor):
        return torch.cat(parts).numpy()
    return tuple(torch.cat([part[i] for part in parts]).numpy() for i in range(len(parts[0])))


def evaluate(recipe: Recipe, model: nn.Module, split: Split) -> float:
    """The recipe's metric of a model on a split.

    Raises:
        RecipeError: ``metric()`` raises or returns no number in [0, 1].
    """
    with reproducible():
        outputs = predict(model, split)
    return measure_metric(recipe, outputs, split.y)


def measure_metric(recipe: Recipe, outputs: Any, targets: npt.NDArray[Any]) -> float:
    """The recipe's metric of outputs that are already there.

    Raises:
        RecipeError: ``metric()`` raises or returns no number in [0, 1].
    """
    with blaming(recipe.source, "metric()"):
        value = float(recipe.metric(outputs, targets))
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"metric() returned {value}, which is not in [0, 1]")
        return value


class Loop:
    """One training run, with everything that a checkpoint holds.

    Args:
        recipe: gives loss, metric and augmentation.
        data: training and validation data are used.
        model: trained in place.
        settings: see `Settings`.
        checkpoint: file to resume from and to keep up to date.
        progress: called after each epoch.
        searching: what a search adds; its network comes back as the last epoch left it, for the best epochs of a search
            are its first ones. Plain training returns the weights of its best epoch.
        teacher: to learn from too; `Settings.distill` is its weight.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        model: nn.Module,
        settings: Settings,
        checkpoint: Path | None,
        progress: ProgressCallback | None,
        searching: Searching | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        self._recipe, self._data, self._model, self._settings = recipe, data, model, settings
        self._checkpoint, self._progress, self._searching = checkpoint, progress, searching
        self._distillation = Distillation(self._task_loss, teacher, settings.distill) if teacher is not None else None
        self._val = as_split(data.val, recipe.batch_size)
        self._optimizer = torch.optim.AdamW(self._groups(), lr=settings.lr)
        self._best_state = {} if searching else {name: t.clone() for name, t in model.state_dict().items()}
        self._best = -1.0
        self._epoch = 0
        self._history: list[dict[str, Any]] = []

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per epoch: epoch, loss, metric and, of a search, costs."""
        return self._history

    def run(self) -> nn.Module:
        """Train to the end; the model comes back in eval mode."""
        with reproducible():
            if not self._resume() and self._settings.phase == "qat":
                self._best = evaluate(self._recipe, self._model, self._val)
            while self._epoch < self._settings.epochs:
                loss = self.train_epoch()
                self._epoch += 1
                self._judge(loss)
                self._save()
                if self._progress is not None:
                    row, settings = self._history[-1], self._settings
                    self._progress(
                        Progress(
                            settings.phase,
                            self._epoch,
                            settings.epochs,
                            loss,
                            row["metric"],
                            self._best,
                            row.get("costs", {}),
                        )
                    )
            if self._best_state:
                self._model.load_state_dict(self._best_state)
        return self._model.eval()

    def train_epoch(self) -> float:
        """One pass over the training data; all randomness comes from the seed and the epoch."""
        settings, searching = self._settings, self._searching or Searching()
        torch.manual_seed(settings.seed * EPOCH_SEEDS + self._epoch)
        generator = torch.Generator().manual_seed(settings.seed * EPOCH_SEEDS + self._epoch)
        rate = settings.lr * (1 + np.cos(np.pi * self._epoch / max(1, settings.epochs))) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = float(rate)
        if searching.before is not None:
            searching.before(self._epoch)
        self._model.train()
        losses: list[float] = []
        for x, y in iterate(self._data.train, settings.batch_size, generator):
            for optimizer in self._optimizers():
                optimizer.zero_grad()
            loss = self._loss(self._recipe.augment(x, generator), y)
            whole = loss
            if searching.regularizer is not None:
                whole = loss + searching.regularizer(self._model, self._epoch + 1, settings.epochs)
            whole.backward()  # type: ignore[no-untyped-call]
            for optimizer in self._optimizers():
                optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses)) if losses else 0.0

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        output = self._model(x)
        if self._distillation is None:
            return self._task_loss(output, y)
        return self._distillation(output, self._distillation.answers(x, y))

    def _task_loss(self, output: Any, y: Tensor) -> Tensor:
        with blaming(self._recipe.source, "loss()"):
            return self._recipe.loss(output, y)

    def _judge(self, loss: float) -> None:
        metric = evaluate(self._recipe, self._model, self._val)
        row: dict[str, Any] = {"epoch": self._epoch, "loss": loss, "metric": metric}
        if self._searching is not None and self._searching.costs is not None:
            self._model.eval()
            row["costs"] = dict(self._searching.costs())
        if metric >= self._best:
            self._best = metric
            if self._best_state:
                self._best_state = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
        self._history.append(row)

    def _optimizers(self) -> Iterator[torch.optim.Optimizer]:
        yield self._optimizer
        if self._searching is not None and self._searching.optimizer is not None:
            yield self._searching.optimizer

    def _groups(self) -> Sequence[dict[str, Any]]:
        """Weights decay; biases, norms, quantizers, masks and selections do not."""
        model: Any = self._model
        own = model.net_parameters() if self._searching is not None else model.parameters()
        trained = [p for p in own if p.requires_grad]
        return [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": self._settings.weight_decay},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ]

    def _facts(self) -> dict[str, Any]:
        facts = {"settings": asdict(self._settings), "epoch": self._epoch, "best": self._best, "history": self._history}
        if self._searching is not None and self._searching.regularizer is not None:
            facts["regularizer"] = self._searching.regularizer.state_dict()
        return facts

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best_state.items()}
        for number, optimizer in enumerate(self._optimizers()):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{index}.{key}": torch.as_tensor(v) for key, v in state.items()}
        write_state(self._checkpoint, tensors, self._facts())

    def _resume(self) -> bool:
        """Take over a checkpoint of the same settings; anything else is started anew."""
        if self._checkpoint is None or not self._checkpoint.is_file():
            return False
        tensors, facts = read_state(self._checkpoint)
        if facts.get("settings") != asdict(self._settings):
            return False
        own = self._model.state_dict()
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        if {name: t.shape for name, t in model.items()} != {name: t.shape for name, t in own.items()}:
            return False
        self._model.load_state_dict(model)
        self._best_state = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}
        for number, optimizer in enumerate(self._optimizers()):
            prefix = f"optimizer.{number}."
            held = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            _load_optimizer(optimizer, held)
        self._epoch, self._best, self._history = int(facts["epoch"]), float(facts["best"]), facts["history"]
        if self._searching is not None and self._searching.regularizer is not None:
            self._searching.regularizer.load_state_dict(facts["regularizer"])
        return True


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    held: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        held.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": held, "param_groups": optimizer.state_dict()["param_groups"]})
