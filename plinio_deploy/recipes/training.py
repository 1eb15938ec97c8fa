# SPDX-License-Identifier: Apache-2.0
"""Plain training for recipes: float, then with quantizers in.

Reproducible: everything random comes from ``seed`` and the epoch's number, and training runs on one thread with torch's
deterministic algorithms, so that results do not depend on the number of cores; other kinds of CPU may still round
differently. A checkpoint after each epoch makes an interrupted run (Ctrl-C, kill) go on where it was, to the same bits.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from plinio_deploy.quantization import QuantConfig, QuantNetwork, quantize
from plinio_deploy.recipe import Data, Recipe, blaming
from plinio_deploy.recipes.batches import iterate
from plinio_deploy.recipes.loop import Loop, Phase, ProgressCallback, Settings, reproducible

CALIBRATION_BATCHES = 16


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
    return Loop(recipe, data or load_data(recipe), model, settings, checkpoint, progress).run()


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
        first = next(iterate(loaded.train, recipe.batch_size * CALIBRATION_BATCHES, None))
        qnet.correct_biases(first)
        if recipe.qat_norms:
            qnet.restore_norms(first)
    trained = Loop(recipe, loaded, qnet, settings, checkpoint, progress).run()
    assert isinstance(trained, QuantNetwork)
    return trained.fold_norms()


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
    return QuantConfig(
        w_bits=recipe.w_bits,
        a_bits=recipe.a_bits,
        input_range=(float(low), float(high)),
        linear_scales=recipe.linear_scales,
        layers=layers,
    )


def _settings(recipe: Recipe, phase: Phase, epochs: int, lr: float, seed: int | None) -> Settings:
    chosen = recipe.seed if seed is None else seed
    return Settings(phase, epochs, lr, recipe.batch_size, recipe.weight_decay, chosen)
