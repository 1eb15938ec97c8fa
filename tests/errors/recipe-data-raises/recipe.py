# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from torch import nn

from plinio_deploy import recipe as base


class Raises(base.Recipe):
    input_shape = (1, 8, 8)
    input_range = (0.0, 1.0)

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def data(self) -> base.Data:
        Path("images.npz").read_bytes()
        raise NotImplementedError


recipe = Raises()
