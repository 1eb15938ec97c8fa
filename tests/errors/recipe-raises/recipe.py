# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import NoReturn

from plinio_deploy import recipe as base


class Raises(base.Recipe):
    input_shape = (1, 8, 8)
    input_range = (0.0, 1.0)

    def model(self) -> NoReturn:
        layers = {"wide": 32}
        raise KeyError(layers["narrow"])

    def data(self) -> base.Data:
        from plinio_deploy.recipes.digits import load_digits

        return load_digits()


recipe = Raises()
