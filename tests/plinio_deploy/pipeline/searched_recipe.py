# SPDX-License-Identifier: Apache-2.0
"""`tiny_recipe` with alternatives, and with a layer wide enough to search in: trains and searches in seconds."""

from __future__ import annotations

import numpy as np
from torch import nn

from plinio_deploy import recipe as base
from plinio_deploy.search.methods.supernet import SuperNetModule


def _model(middle: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        middle,
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 2),
    )


class Searched(base.Recipe):
    name = "searched"
    input_shape = (1, 4, 4)
    input_range = (0.0, 1.0)
    epochs = 3
    qat_epochs = 1
    warmup_epochs = 1
    search_epochs = 3
    tune_epochs = 2
    max_metric_drop = 0.1

    def model(self) -> nn.Module:
        return _model(nn.Conv2d(8, 8, 3, padding=1))

    def supernet(self) -> nn.Module:
        own, pointwise = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        return _model(SuperNetModule([own, pointwise], single_path=True))

    def data(self) -> base.Data:
        rng = np.random.default_rng(0)
        x = rng.random((640, 1, 4, 4), dtype=np.float32)
        y = (x[:, 0, :, 2:].sum(axis=(1, 2)) > x[:, 0, :, :2].sum(axis=(1, 2))).astype(np.int64)
        return base.Data(*(base.Split(x[part], y[part]) for part in (slice(560), slice(560, 600), slice(600, 640))))


recipe = Searched()
