# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import Tensor, nn

from plinio_deploy import recipe as base
from plinio_deploy.recipes.digits import load_digits


class Wave(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class Unsupported(base.Recipe):
    input_shape = (1, 8, 8)
    input_range = (0.0, 1.0)

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 3), Wave(), nn.Flatten(), nn.Linear(144, 10))

    def data(self) -> base.Data:
        return load_digits()


recipe = Unsupported()
