# SPDX-License-Identifier: Apache-2.0
"""A user's recipe: a network with a residual block, a depthwise layer, a concat of two branches and average pooling.

Run it with::

    plinio-deploy run tests/e2e/recipes/mixed.py --target cortex-m4

A recipe is one Python file that defines ``recipe``. It has to say what the model and the data are, which shape one
sample has and in which range its values lie; everything else has a default (see `plinio_deploy.recipe.Recipe`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from plinio_deploy.quantization import LayerConfig
from plinio_deploy.recipe import Data, Recipe
from plinio_deploy.recipes.digits import load_digits


class MixedNet(nn.Module):
    """Logits ``(N, 10)`` of images ``(N, 1, 8, 8)``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.residual = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.residual_norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 8, 1)
        self.narrow = nn.Conv2d(8, 8, (1, 3), padding=(0, 1))
        self.pool = nn.AvgPool2d(2)
        self.classifier = nn.Linear(16 * 4 * 4 + 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Branches and all; plain PyTorch, nothing of plinio_deploy."""
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.residual_norm(self.residual(x)))
        low, high = torch.relu(self.depthwise(x)), torch.relu(self.narrow(x))
        x = self.pool(torch.cat([self.wide(low), high], 1))
        features = torch.cat([x.flatten(1), x.mean((2, 3))], 1)
        return torch.log_softmax(self.classifier(features), 1)


class MixedRecipe(Recipe):
    """Train `MixedNet` on the digits, with 4-bit weights in the largest layer."""

    name = "mixed"
    input_shape = (1, 8, 8)
    input_range = (0.0, 1.0)
    epochs = 20
    qat_epochs = 5
    min_float_metric = 0.95

    def model(self) -> nn.Module:
        """A new network; the seed has been set."""
        return MixedNet()

    def data(self) -> Data:
        """Training, validation and test images as arrays; torch data sets and loaders work, too."""
        return load_digits()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The model ends in log_softmax, which is left to the host on the device."""
        return nn.functional.nll_loss(output, target)

    def layers(self) -> Mapping[str, LayerConfig]:
        """What single layers do differently, by module path."""
        return {"classifier": LayerConfig(w_bits=4)}


recipe = MixedRecipe()
