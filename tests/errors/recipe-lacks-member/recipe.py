# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from torch import nn

from plinio_deploy import recipe as base


class Lacks(base.Recipe):
    input_range = (0.0, 1.0)

    def model(self) -> nn.Module:
        return nn.Linear(64, 10)


recipe = Lacks()
