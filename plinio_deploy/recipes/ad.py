# SPDX-License-Identifier: Apache-2.0
"""Anomaly detection of MLPerf Tiny: an autoencoder that knows only normal samples; what it cannot rebuild is odd.

The metric is the area under the ROC curve of the error of reconstruction. Targets hold the label (1 for an anomaly) in
their first column and the sample behind it, for an autoencoder is asked for its input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plinio_deploy.errors import RecipeError
from plinio_deploy.recipe import Data, Recipe, Split
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.models import Autoencoder
from plinio_deploy.recipes.supernets import in_place_of

INPUTS = 640
LIMIT = 4.0
"""Standard deviations beyond which a feature saturates."""
VAL_SHARE = 0.1
SPLIT_SEED = 0

SEARCHED = tuple(f"layers.{index}" for index in (3, 6, 9, 18, 21, 24))
"""Layers that have alternatives: the square ones of 128."""

FloatArray = npt.NDArray[np.float32]


class AnomalyDetection(Recipe):
    """The autoencoder, 264,192 multiply-accumulates; weights have a step per layer, as TFLite specifies."""

    name = "ad"
    input_shape = (INPUTS,)
    input_range = (-LIMIT, LIMIT)
    epochs = 60
    qat_epochs = 10
    lr = 2e-3
    qat_lr = 5e-4
    warmup_epochs = 4
    search_epochs = 15
    tune_epochs = 15
    max_metric_drop = 0.02
    linear_scales = "tensor"
    data_from = (
        "vectors of 640 numbers with y = 0 where all is well and 1 for an anomaly (five frames of 128 log mel energies "
        "of ToyCar, zenodo.org/record/3678171); or signals (N, C, L) whose C divides 640, which are stretched to 640 "
        "numbers (the hydraulic rig, archive.ics.uci.edu/dataset/447, with keys milli and target)"
    )

    def model(self) -> nn.Module:
        """A new `Autoencoder`."""
        return Autoencoder(INPUTS)

    def supernet(self) -> nn.Module:
        """The same; each square layer may become two with a narrow middle."""
        return in_place_of(self.model(), SEARCHED)

    def data(self) -> Data:
        """Normal samples to train on; validation and test hold anomalies too. Features have mean 0 and deviation 1."""
        (train_x, train_y), (test_x, test_y) = (_read(self.data_folder(), part) for part in ("train", "test"))
        order = np.random.default_rng(SPLIT_SEED).permutation(np.flatnonzero(train_y == 0))
        held = max(1, round(VAL_SHARE * len(order)))
        odd = np.flatnonzero(train_y)[: 2 * held]
        normal = train_x[order[held:]]
        mean, deviation = normal.mean(0), normal.std(0) + np.float32(1e-3)

        def split(x: FloatArray, y: npt.NDArray[np.int64]) -> Split:
            scaled = np.clip((x - mean) / deviation, -LIMIT, LIMIT).astype(np.float32)
            return Split(scaled, np.concatenate([y[:, None].astype(np.float32), scaled], 1))

        chosen = np.concatenate([order[:held], odd])
        val = split(train_x[chosen], train_y[chosen])
        return Data(split(normal, train_y[order[held:]]), val, split(test_x, test_y))

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """Mean squared error of the reconstruction."""
        return nn.functional.mse_loss(output, target[:, 1:])

    def metric(self, outputs: Any, targets: npt.NDArray[Any]) -> float:
        """Area under the ROC curve; 0.5 where there is one kind of sample only."""
        return area_under_roc(np.mean(np.square(outputs - targets[:, 1:]), 1), targets[:, 0] > 0)

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A little noise, so that the middle layer does not learn single samples."""
        return (x + 0.05 * torch.randn(x.shape, generator=generator)).clamp(-LIMIT, LIMIT)


def area_under_roc(scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> float:
    """Chance that a positive sample scores higher than another one; equal scores count half."""
    order = np.unique(scores, return_inverse=True)[1].ravel()
    counts = np.bincount(order)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return 0.5
    return float((ranks[order][positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def _read(folder: Path, part: str) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Samples of 640 numbers, and 1 for each anomaly."""
    x, y = [], []
    for path in npz.files(folder, part):
        with np.load(path, allow_pickle=False) as file:
            if "milli" in file:
                # Cooler at its best is taken for normal: there are too few cycles where everything is.
                x.append(_stretched(file["milli"] / np.float32(1000), path))
                y.append((file["target"][:, 0] != 100).astype(np.int64))
            else:
                raw = npz.samples({key: file[key] for key in file.files}, str(path))
                x.append(_stretched(raw.astype(np.float32), path))
                y.append((file["y"] > 0).astype(np.int64))
    return np.concatenate(x), np.concatenate(y)


def _stretched(x: npt.NDArray[Any], path: Path) -> FloatArray:
    """Signals (N, C, L) to vectors of 640, interpolated along time; vectors of 640 stay."""
    if x.ndim == 2 and x.shape[1] == INPUTS:
        return x.astype(np.float32)
    if x.ndim != 3 or INPUTS % x.shape[1]:
        raise RecipeError(
            "samples do not make 640 numbers",
            where=str(path),
            got=f"shape {x.shape}",
            expected="(N, 640), or (N, C, L) with a C that divides 640",
        )
    length = INPUTS // x.shape[1]
    place = np.linspace(0, x.shape[2] - 1, length)
    below = np.minimum(place.astype(np.int64), x.shape[2] - 2)
    share = (place - below).astype(np.float32)
    between = x[:, :, below] * (1 - share) + x[:, :, below + 1] * share
    return np.ascontiguousarray(between.reshape(len(x), INPUTS), dtype=np.float32)


recipe = AnomalyDetection()
