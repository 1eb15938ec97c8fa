# SPDX-License-Identifier: Apache-2.0
"""Keyword spotting of MLPerf Tiny: DS-CNN on 49 frames of 10 MFCC."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plinio_deploy.recipe import Data, Recipe
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.augment import shift_and_mirror
from plinio_deploy.recipes.models import DSCNN
from plinio_deploy.recipes.supernets import in_place_of

CLASSES = 12
"""Of Google Speech Commands, as MLPerf Tiny uses them; a folder of data may have others."""

SEARCHED = tuple(f"features.{index}" for index in (7, 13, 19, 25))
"""Layers that have alternatives: the pointwise convolutions."""


class KeywordSpotting(Recipe):
    """DS-CNN; 2,656,768 multiply-accumulates for 12 words."""

    name = "kws"
    input_shape = (1, 49, 10)
    input_range = (-1.0, 127 / 128)
    epochs = 30
    qat_epochs = 6
    lr = 3e-3
    warmup_epochs = 2
    search_epochs = 8
    tune_epochs = 10
    data_from = (
        "49 x 10 MFCC int8 of one-second clips, as files *mfcc_train.npz and *mfcc_test.npz with keys mfcc and y "
        "(Google Speech Commands, download.tensorflow.org/data/speech_commands_v0.02.tar.gz; or Arabic Speech "
        "Commands, github.com/abdulkaderghandoura/arabic-speech-commands-dataset)"
    )

    def model(self) -> nn.Module:
        """A new `DSCNN` with as many outputs as the folder has words."""
        return DSCNN(CLASSES if self.folder is None else npz.classes(self.folder, self._family()))

    def supernet(self) -> nn.Module:
        """The same; each pointwise convolution may become two with a narrow middle."""
        return in_place_of(self.model(), SEARCHED)

    def data(self) -> Data:
        """The features of the folder, scaled to [-1, 1)."""
        return npz.load(self.data_folder(), self._family())

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Shifted by up to 2 frames and coefficients."""
        return shift_and_mirror(x, generator, 2, mirror=False)

    def _family(self) -> str | None:
        """The files with features, where the folder also holds sounds."""
        found = npz.families(self.data_folder())
        return next((name for name in found if "mfcc" in name), None) if len(found) > 1 else None


recipe = KeywordSpotting()
