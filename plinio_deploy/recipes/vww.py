# SPDX-License-Identifier: Apache-2.0
"""Visual wake words of MLPerf Tiny: is there a person in a 96 x 96 image? MobileNetV1 at a quarter of its width."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from plinio_deploy.errors import RecipeError
from plinio_deploy.recipe import Data, Recipe, Split
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.augment import shift_and_mirror
from plinio_deploy.recipes.models import MobileNetV1
from plinio_deploy.recipes.supernets import in_place_of

SIZE = 96

SEARCHED = tuple(f"features.{index}" for index in range(42, 72, 6))
"""Layers that have alternatives: the pointwise convolutions of the five blocks of 512 channels (at full width)."""


class VisualWakeWords(Recipe):
    """MobileNetV1-0.25, 7,489,664 multiply-accumulates."""

    name = "vww"
    input_shape = (3, SIZE, SIZE)
    input_range = (0.0, 1.0)
    epochs = 30
    qat_epochs = 6
    lr = 3e-3
    batch_size = 32
    warmup_epochs = 2
    search_epochs = 8
    tune_epochs = 10
    data_from = (
        "images of 96 x 96 x 3 uint8, or of a size that divides 96, with y = 1 where there is a person (Visual Wake "
        "Words, from COCO 2014: cocodataset.org and github.com/Mxbonn/visualwakewords)"
    )

    def model(self) -> nn.Module:
        """A new `MobileNetV1`."""
        return MobileNetV1()

    def supernet(self) -> nn.Module:
        """The same; some pointwise convolutions may become two with a narrow middle."""
        return in_place_of(self.model(), SEARCHED)

    def data(self) -> Data:
        """The images of the folder; smaller ones are enlarged by repeating pixels."""
        found = npz.load(self.data_folder())
        return Data(*(self._enlarged(part) for part in (found.train, found.val, found.test)))

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted by up to 8 pixels, half of them mirrored."""
        return shift_and_mirror(x, generator, 8)

    def _enlarged(self, split: Split) -> Split:
        height, width = split.x.shape[2:]
        if height != width or SIZE % height:
            raise RecipeError(
                "images do not enlarge to 96 x 96",
                where=str(self.folder),
                got=f"{height} x {width}",
                expected="a square whose side divides 96",
            )
        factor = SIZE // height
        return Split(np.repeat(np.repeat(split.x, factor, 2), factor, 3), split.y)


recipe = VisualWakeWords()
