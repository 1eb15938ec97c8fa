# SPDX-License-Identifier: Apache-2.0
"""Stage `train`: float training, then training with quantizers in.

torch is imported inside the functions: whoever only generates, builds or measures does not wait for it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plinio_deploy.console import Terminal
from plinio_deploy.errors import RecipeError
from plinio_deploy.pipeline.request import Request, Training
from plinio_deploy.pipeline.stage import Record, StageFolder, package_digest, perform
from plinio_deploy.recipe import Data, Recipe, Split, load_recipe

if TYPE_CHECKING:
    from plinio_deploy.recipes.loop import Progress

FLOAT_WEIGHTS = "float.safetensors"
QUANTIZED_WEIGHTS = "quantized.safetensors"
CHECKED_SAMPLES = 8
"""Samples on which loss and metric are tried before training."""

_CODE = ("quantization", "recipe.py", "recipes", "pipeline/train.py")


@dataclass(frozen=True)
class Trainer:
    """A recipe that is ready to be trained.

    Attributes:
        spec: what the user called it.
        recipe: the loaded recipe.
        data: its data.
        training: settings that replace the recipe's.
        inputs: everything that the result depends on.
    """

    spec: str
    recipe: Recipe
    data: Data
    training: Training
    inputs: Mapping[str, str]


def prepare(request: Request, terminal: Terminal) -> Trainer:
    """Load a recipe; unless it has been trained already, try everything of it on a few samples. Writes nothing.

    Raises:
        RecipeError: the recipe raises, lacks a member, or its parts do not fit each other.
        UnsupportedModel: its model has no integer form.
    """
    recipe = load_recipe(request.recipe, request.data)
    from plinio_deploy.recipes.training import load_data

    terminal.detail(f"  recipe {recipe.name} from {recipe.source}")
    data = load_data(recipe)
    inputs = {
        "recipe": _source_digest(recipe),
        "data": _data_digest(data),
        "settings": repr(request.training),
        "torch": version("torch"),
        "code": package_digest(*_CODE),
    }
    trainer = Trainer(request.recipe, recipe, data, request.training, inputs)
    if request.workspace.train.current(inputs) is None:
        _check(trainer)
    return trainer


def run(folder: StageFolder, trainer: Trainer, terminal: Terminal) -> Record:
    """Train, unless that has been done; an interrupted training goes on after its last whole epoch.

    Args:
        folder: where the stage keeps its result.
        trainer: from `prepare`.
        terminal: told what goes on.

    Raises:
        RecipeError, UnsupportedModel, OutputError: see `plinio_deploy.recipes.training`.
    """

    def make(work: Path) -> Mapping[str, Any]:
        return _train(trainer, work, terminal)

    return perform(folder, trainer.inputs, terminal, make, resumable=True)


def planned(recipe: Recipe, chosen: Training) -> tuple[int, int]:
    """Epochs of float training and of training with quantizers."""
    epochs = recipe.budgeted(recipe.epochs, chosen.budget) if chosen.epochs is None else chosen.epochs
    qat_epochs = recipe.budgeted(recipe.qat_epochs, chosen.budget) if chosen.qat_epochs is None else chosen.qat_epochs
    return epochs, qat_epochs


def _train(trainer: Trainer, work: Path, terminal: Terminal) -> dict[str, Any]:
    from plinio_deploy.recipes import loop, training
    from plinio_deploy.recipes.batches import as_split
    from plinio_deploy.recipes.checkpoint import read_state, save_module

    recipe, data, chosen = trainer.recipe, trainer.data, trainer.training
    epochs, qat_epochs = planned(recipe, chosen)
    checkpoints = {"float": work / ".float.safetensors", "qat": work / ".qat.safetensors"}
    with terminal.progress("train", epochs + qat_epochs) as advance:

        def report(progress: Progress) -> None:
            before = epochs if progress.phase == "qat" else 0
            text = f"{progress.phase} loss {progress.loss:.4f}, validation {progress.metric:.4f}"
            advance(before + progress.epoch, text)

        model = training.train_float(
            recipe, data=data, epochs=epochs, seed=chosen.seed, checkpoint=checkpoints["float"], progress=report
        )
        qnet = training.train_qat(
            recipe,
            model,
            data=data,
            epochs=qat_epochs,
            seed=chosen.seed,
            checkpoint=checkpoints["qat"],
            progress=report,
        )
    test = as_split(data.test)
    save_module(model, work / FLOAT_WEIGHTS)
    save_module(qnet, work / QUANTIZED_WEIGHTS)
    facts = {phase: read_state(path)[1] for phase, path in checkpoints.items() if path.exists()}
    return {
        "recipe": trainer.spec,
        "epochs": epochs,
        "qat_epochs": qat_epochs,
        "seed": recipe.seed if chosen.seed is None else chosen.seed,
        "float_metric": loop.evaluate(recipe, model, test),
        "quantized_metric": loop.evaluate(recipe, qnet, test),
        "history": [{"phase": phase, **entry} for phase, held in facts.items() for entry in held.get("history", [])],
    }


def _check(trainer: Trainer) -> None:
    """Model, data, loss and metric once each, on a few samples."""
    from plinio_deploy.recipe import blaming
    from plinio_deploy.recipes import loop, training
    from plinio_deploy.recipes.batches import iterate

    recipe = trainer.recipe
    model = training.build_model(recipe, trainer.training.seed)
    with blaming(recipe.source, "data()"):
        x, y = next(iterate(trainer.data.train, CHECKED_SAMPLES, None))
    x, y = x[:CHECKED_SAMPLES], y[:CHECKED_SAMPLES]
    if tuple(x.shape[1:]) != tuple(recipe.input_shape):
        raise RecipeError(
            "the data do not have the recipe's input_shape",
            where=recipe.source,
            got=f"samples of shape {tuple(x.shape[1:])}",
            expected=f"input_shape = {tuple(recipe.input_shape)}",
        )
    with blaming(recipe.source, "model()"):
        outputs = loop.predict(model, Split(x.numpy(), y.numpy()))
    with blaming(recipe.source, "loss()"):
        recipe.loss(model.eval()(x), y)
    loop.measure_metric(recipe, outputs, y.numpy())
    training.make_qnet(recipe, model)


def _source_digest(recipe: Recipe) -> str:
    """Digest of the recipe's file and of the modules beside it that it imported.

    A built-in recipe is our own code, which has a digest already.
    """
    path = Path(recipe.source)
    if not path.is_file():
        return recipe.source
    folder = path.resolve().parent
    ours = Path(__file__).resolve().parent.parent
    files = {path.resolve()}
    for module in list(sys.modules.values()):
        origin = Path(getattr(module, "__file__", None) or "/")
        beside = folder in origin.parents and ours not in origin.resolve().parents
        if beside and "site-packages" not in origin.parts and origin.is_file():
            files.add(origin)
    state = hashlib.sha256()
    for file in sorted(files):
        state.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return state.hexdigest()


def _data_digest(data: Data) -> str:
    """Digest of arrays; of a torch data set that of some samples, for it may be large (see `fingerprint`)."""
    from plinio_deploy.recipes.batches import fingerprint

    state = hashlib.sha256()
    for part in (data.train, data.val, data.test):
        if isinstance(part, Split):
            for array in (part.x, np.asarray(part.y)):
                state.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        else:
            state.update(fingerprint(part).encode())
    return state.hexdigest()
