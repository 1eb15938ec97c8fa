# SPDX-License-Identifier: Apache-2.0
"""Plain training loops for recipes: float, then with quantizers in.

Reproducible: everything random comes from ``seed`` and the epoch's number, and training runs on one thread with torch's
deterministic algorithms, so that results do not depend on the number of cores; other kinds of CPU may still round
differently. A checkpoint after each epoch makes an interrupted run (Ctrl-C, kill) go on where it was, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plinio_deploy.quantization import QuantConfig, QuantNetwork, quantize
from plinio_deploy.recipe import Data, Recipe, Split, blaming
from plinio_deploy.recipes.batches import as_split, iterate
from plinio_deploy.recipes.checkpoint import read_state, write_state

Phase = Literal["float", "qat"]
CALIBRATION_BATCHES = 16


@dataclass(frozen=True)
class Progress:
    """What a training loop reports after each epoch.

    Attributes:
        phase: ``float`` or ``qat``.
        epoch: epochs done, from 1.
        epochs: epochs in all.
        loss: mean training loss of the epoch.
        metric: the recipe's metric on the validation set.
        best: the best of these so far.
    """

    phase: Phase
    epoch: int
    epochs: int
    loss: float
    metric: float
    best: float


@dataclass(frozen=True)
class Settings:
    """What a training run depends on besides model and data; a checkpoint of other settings is not resumed."""

    phase: Phase
    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    seed: int


ProgressCallback = Callable[[Progress], None]


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


def build_model(recipe: Recipe, seed: int | None = None) -> nn.Module:
    """A new model of a recipe, initialised from the seed.

    Raises:
        RecipeError: ``model()`` raises.
    """
    with reproducible(), blaming(recipe.source, "model()"):
        torch.manual_seed(recipe.seed if seed is None else seed)
        return recipe.model()


def load_data(recipe: Recipe) -> Data:
    """A recipe's data.

    Raises:
        RecipeError: ``data()`` raises or returns something else.
    """
    with blaming(recipe.source, "data()"):
        data = recipe.data()
        if not isinstance(data, Data):
            raise TypeError(f"data() returned {type(data).__name__}, not Data")
        return data


def train_float(
    recipe: Recipe,
    *,
    data: Data | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    checkpoint: Path | None = None,
    progress: ProgressCallback | None = None,
) -> nn.Module:
    """Train a recipe's model in float and return it, in eval mode, with the weights of its best epoch.

    Args:
        recipe: what to train.
        data: the recipe's data if already loaded.
        epochs: instead of the recipe's.
        seed: instead of the recipe's.
        checkpoint: file to resume from and to keep up to date.
        progress: called after each epoch.

    Raises:
        RecipeError: the recipe's code raises.
        OutputError: the checkpoint cannot be written.
    """
    settings = _settings(recipe, "float", recipe.epochs if epochs is None else epochs, recipe.lr, seed)
    model = build_model(recipe, settings.seed)
    return _Loop(recipe, data or load_data(recipe), model, settings, checkpoint, progress).run()


def train_qat(
    recipe: Recipe,
    model: nn.Module,
    *,
    data: Data | None = None,
    config: QuantConfig | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    checkpoint: Path | None = None,
    progress: ProgressCallback | None = None,
) -> QuantNetwork:
    """Quantize a trained model, calibrate it, and train it with quantizers in.

    Args:
        recipe: gives data, loss, metric and settings.
        model: a trained float model; not changed.
        config: bit widths; the recipe's if ``None``.
        data: the recipe's data if already loaded.
        epochs: instead of the recipe's.
        seed: instead of the recipe's.
        checkpoint: file to resume from and to keep up to date.
        progress: called after each epoch.

    Returns:
        The calibrated network of the best epoch, in eval mode; the calibrated one itself counts as epoch 0.

    Raises:
        UnsupportedModel: the model has no integer form.
        RecipeError: the recipe's code raises.
        OutputError: the checkpoint cannot be written.
    """
    settings = _settings(recipe, "qat", recipe.qat_epochs if epochs is None else epochs, recipe.qat_lr, seed)
    loaded = data or load_data(recipe)
    with reproducible():
        qnet = make_qnet(recipe, model, config)
        qnet.calibrate(iterate(loaded.train, recipe.batch_size, None), max_batches=CALIBRATION_BATCHES)
    trained = _Loop(recipe, loaded, qnet, settings, checkpoint, progress).run()
    assert isinstance(trained, QuantNetwork)
    return trained


def make_qnet(recipe: Recipe, model: nn.Module, config: QuantConfig | None = None) -> QuantNetwork:
    """The fake-quantized network of a recipe's model, not calibrated.

    Raises:
        UnsupportedModel: the model has no integer form.
        RecipeError: ``layers()`` raises.
    """
    return quantize(model, torch.zeros((1, *recipe.input_shape)), config or recipe_config(recipe))


def recipe_config(recipe: Recipe) -> QuantConfig:
    """Bit widths and input range of a recipe.

    Raises:
        RecipeError: ``layers()`` raises.
    """
    with blaming(recipe.source, "layers()"):
        layers = dict(recipe.layers())
    low, high = recipe.input_range
    return QuantConfig(w_bits=recipe.w_bits, a_bits=recipe.a_bits, input_range=(float(low), float(high)), layers=layers)


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


def _settings(recipe: Recipe, phase: Phase, epochs: int, lr: float, seed: int | None) -> Settings:
    chosen = recipe.seed if seed is None else seed
    return Settings(phase, epochs, lr, recipe.batch_size, recipe.weight_decay, chosen)


class _Loop:
    """One training run, with everything that a checkpoint holds."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        model: nn.Module,
        settings: Settings,
        checkpoint: Path | None,
        progress: ProgressCallback | None,
    ) -> None:
        self._recipe, self._data, self._model, self._settings = recipe, data, model, settings
        self._checkpoint, self._progress = checkpoint, progress
        self._val = as_split(data.val, recipe.batch_size)
        self._optimizer = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=settings.lr)
        self._best_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self._best = -1.0
        self._epoch = 0
        self._history: list[dict[str, float]] = []

    def run(self) -> nn.Module:
        """Train to the end; the model comes back in eval mode with its best weights."""
        with reproducible():
            if not self._resume() and self._settings.phase == "qat":
                self._best = evaluate(self._recipe, self._model, self._val)
            while self._epoch < self._settings.epochs:
                loss = self._train_epoch()
                self._epoch += 1
                metric = evaluate(self._recipe, self._model, self._val)
                if metric >= self._best:
                    self._best = metric
                    self._best_state = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
                self._history.append({"epoch": self._epoch, "loss": loss, "metric": metric})
                self._save()
                if self._progress is not None:
                    settings = self._settings
                    self._progress(Progress(settings.phase, self._epoch, settings.epochs, loss, metric, self._best))
            self._model.load_state_dict(self._best_state)
        return self._model.eval()

    def _train_epoch(self) -> float:
        """One pass over the training data; all randomness comes from the seed and the epoch."""
        settings = self._settings
        torch.manual_seed(settings.seed * 1_000_003 + self._epoch)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self._epoch)
        rate = settings.lr * (1 + np.cos(np.pi * self._epoch / max(1, settings.epochs))) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = float(rate)
        self._model.train()
        losses: list[float] = []
        for x, y in iterate(self._data.train, settings.batch_size, generator):
            self._optimizer.zero_grad()
            with blaming(self._recipe.source, "loss()"):
                loss = self._recipe.loss(self._model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses)) if losses else 0.0

    def _facts(self) -> dict[str, Any]:
        return {"settings": asdict(self._settings), "epoch": self._epoch, "best": self._best, "history": self._history}

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best_state.items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
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
        self._load_optimizer({name: t for name, t in tensors.items() if name.startswith("optimizer.")})
        self._epoch, self._best, self._history = int(facts["epoch"]), float(facts["best"]), facts["history"]
        return True

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state = self._optimizer.state_dict()
        held: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            _, index, key = name.split(".")
            held.setdefault(int(index), {})[key] = tensor
        self._optimizer.load_state_dict({"state": held, "param_groups": state["param_groups"]})


def _parameter_groups(model: nn.Module, weight_decay: float) -> Sequence[dict[str, Any]]:
    """Weights decay; biases, norms and quantizers do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
