# SPDX-License-Identifier: Apache-2.0
"""Heart rate from a photoplethysmogram: a temporal convolutional network on 8 seconds at 32 Hz.

The model gives the rate as a number around 0 (see `CENTRE` and `SPREAD`); the metric is 1 - error / 30, with the mean
absolute error in beats per minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from plinio_deploy.errors import RecipeError
from plinio_deploy.recipe import Data, Recipe, Split
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.models import TCN
from plinio_deploy.recipes.supernets import in_place_of

SAMPLES = 256
RATE_HZ = 32.0
STRIDE_S = 2.0
LIMIT = 4.0
"""Standard deviations of a window beyond which a sample saturates."""
CENTRE, SPREAD = 85.0, 25.0
"""Beats per minute that the model's 0 stands for, and those of its 1."""
WORST = 30.0
"""Error in beats per minute at which the metric is 0."""

SEARCHED = tuple(f"blocks.{block}.conv2.conv" for block in (0, 1, 2))
"""Layers that have alternatives: the second convolution of each block."""


class HeartRate(Recipe):
    """The TCN, 4,775,984 multiply-accumulates."""

    name = "tcn"
    input_shape = (1, SAMPLES)
    input_range = (-LIMIT, LIMIT)
    epochs = 20
    qat_epochs = 6
    lr = 2e-3
    warmup_epochs = 2
    search_epochs = 8
    tune_epochs = 8
    max_metric_drop = 0.02
    data_from = (
        "windows x (N, 1, 256) of 8 s at 32 Hz with y in beats per minute; or whole recordings with keys ppg (125 Hz) "
        "and numerics (BIDMC, physionet.org/content/bidmc/1.0.0)"
    )

    def model(self) -> nn.Module:
        """A new `TCN`."""
        return TCN()

    def supernet(self) -> nn.Module:
        """The same; some convolutions may take every second tap only."""
        return in_place_of(self.model(), SEARCHED)

    def data(self) -> Data:
        """Windows with mean 0 and deviation 1; every eighth recording (or window) validates."""
        train, test = (_read(self.data_folder(), part) for part in ("train", "test"))
        group = train[2] % 8 == 7
        inner, val = (Split(train[0][part], train[1][part]) for part in (~group, group))
        return Data(inner, val, Split(test[0], test[1]))

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """Smooth absolute error."""
        return nn.functional.smooth_l1_loss(output[:, 0], target, beta=0.2)

    def metric(self, outputs: Any, targets: npt.NDArray[Any]) -> float:
        """1 - mean absolute error / 30 beats per minute, at least 0."""
        return float(max(0.0, 1 - np.mean(np.abs(outputs[:, 0] - targets)) * SPREAD / WORST))


Read = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]


def _read(folder: Path, part: str) -> Read:
    """Windows, targets, and the number of the recording that each window is of."""
    found: list[Read] = []
    first = 0
    for path in npz.files(folder, part):
        with np.load(path, allow_pickle=False) as file:
            if "ppg" in file:
                found += [
                    _windows(*pair, first + i) for i, pair in enumerate(zip(file["ppg"], file["numerics"], strict=True))
                ]
                first += len(file["ppg"])
            else:
                x = npz.samples({key: file[key] for key in file.files}, str(path)).astype(np.float32)
                if x.shape[1:] != (1, SAMPLES):
                    got, expected = f"shape {x.shape}", f"(N, 1, {SAMPLES})"
                    raise RecipeError("windows of another size", where=str(path), got=got, expected=expected)
                rate = ((file["y"] - CENTRE) / SPREAD).astype(np.float32)
                found.append((_normalized(x), rate, np.arange(len(x))))
    xs, ys, records = zip(*found, strict=True)
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(records)


def _windows(ppg: npt.NDArray[np.uint16], numerics: npt.NDArray[np.float32], record: int) -> Read:
    """All windows of one recording whose heart rate is known at their end."""
    seconds = np.arange(len(ppg)) / 125.0
    length = SAMPLES / RATE_HZ
    ends = np.arange(length, min(seconds[-1], len(numerics) - 1), STRIDE_S)
    rates = numerics[ends.astype(np.int64), 0]
    known = np.isfinite(rates)
    times = ends[known, None] - length + (np.arange(SAMPLES) + 0.5) / RATE_HZ
    # Four samples at 125 Hz are about one at 32 Hz: their mean keeps out what would fold back.
    smooth = np.convolve(ppg.astype(np.float64), np.full(4, 0.25), "same")
    x = np.interp(times, seconds, smooth).astype(np.float32)[:, None]
    y = ((rates[known] - CENTRE) / SPREAD).astype(np.float32)
    return _normalized(x), y, np.full(int(known.sum()), record)


def _normalized(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean 0 and deviation 1 for each window, clipped."""
    deviation = x.std(-1, keepdims=True) + np.float32(1e-3)
    scaled: npt.NDArray[np.float32] = (x - x.mean(-1, keepdims=True)) / deviation
    return np.clip(scaled, -LIMIT, LIMIT).astype(np.float32, copy=False)


recipe = HeartRate()
