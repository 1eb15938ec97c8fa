# SPDX-License-Identifier: Apache-2.0
"""Image classification of MLPerf Tiny: ResNet8 on 10 classes of 32 x 32 colour images (CIFAR-10)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plinio_deploy.recipe import Data, Recipe
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.augment import shift_and_mirror
from plinio_deploy.recipes.models import ResNet8
from plinio_deploy.recipes.supernets import in_place_of

SEARCHED = tuple(f"block{block}.conv{conv}" for block in (1, 2, 3) for conv in (1, 2))
"""Layers that have alternatives: the 3x3 convolutions of the residual blocks."""


class ImageClassification(Recipe):
    """ResNet8, 12,501,632 multiply-accumulates."""

    name = "ic"
    input_shape = (3, 32, 32)
    input_range = (0.0, 1.0)
    epochs = 60
    qat_epochs = 8
    qat_norms = True
    lr = 3e-3
    batch_size = 128
    warmup_epochs = 3
    search_epochs = 12
    tune_epochs = 16
    distill = 0.7
    short = 0.3
    data_from = (
        "CIFAR-10, 32 x 32 x 3 uint8 (www.cs.toronto.edu/~kriz/cifar.html, converted to cifar10_train.npz and "
        "cifar10_test.npz)"
    )

    def model(self) -> nn.Module:
        """A new `ResNet8`."""
        return ResNet8()

    def supernet(self) -> nn.Module:
        """The same with alternatives for each 3x3 convolution of the blocks."""
        return in_place_of(ResNet8(), SEARCHED)

    def data(self) -> Data:
        """The images of the folder; a tenth of the training images validates."""
        return npz.load(self.data_folder())

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted by up to 4 pixels, half of them mirrored."""
        return shift_and_mirror(x, generator)


recipe = ImageClassification()
