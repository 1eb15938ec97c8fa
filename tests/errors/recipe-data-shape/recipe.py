# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from torch import nn

from plinio_deploy import recipe as base
from plinio_deploy.recipes.digits import load_digits


class Wrong(base.Recipe):
    input_shape = (1, 10, 10)
    input_range = (0.0, 1.0)

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(100, 10))

    def data(self) -> base.Data:
        return load_digits()


recipe = Wrong()
