# SPDX-License-Identifier: Apache-2.0
"""A recipe that trains in a second: which half of a 4 x 4 image is brighter."""

from __future__ import annotations

import numpy as np
from torch import nn

from plinio_deploy import recipe as base


class Tiny(base.Recipe):
    name = "tiny"
    input_shape = (1, 4, 4)
    input_range = (0.0, 1.0)
    epochs = 3
    qat_epochs = 1
    max_metric_drop = 0.1

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2), nn.Softmax(1)
        )

    def data(self) -> base.Data:
        rng = np.random.default_rng(0)
        x = rng.random((240, 1, 4, 4), dtype=np.float32)
        y = (x[:, 0, :, 2:].sum(axis=(1, 2)) > x[:, 0, :, :2].sum(axis=(1, 2))).astype(np.int64)
        return base.Data(*(base.Split(x[part], y[part]) for part in (slice(160), slice(160, 200), slice(200, 240))))


recipe = Tiny()
