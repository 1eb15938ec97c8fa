# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits: 1797 real images of 8 x 8 pixels and a network for the smallest microcontrollers.

The images are the test part of the UCI data set "Optical Recognition of Handwritten Digits", which scikit-learn carries
with it. The network has 5,928 weights and 115,440 multiply-accumulates; the two neighbouring activations that are
largest together take 2,304 bytes at 8 bits.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plinio_deploy.recipe import Data, Recipe, Split
from plinio_deploy.recipes.supernets import in_place_of

TEST_IMAGES = 360
VAL_IMAGES = 200
SPLIT_SEED = 2026


class DigitsNet(nn.Module):
    """Convolution, depthwise-separable block, residual block, average pooling, linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, 12, 3)
        self.depthwise = _block(12, 12, 3, groups=12)
        self.pointwise = _block(12, 24, 1)
        self.pool = nn.MaxPool2d(2)
        self.residual = _block(24, 24, 3)[:2]
        self.relu = nn.ReLU()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, 10)`` of images ``(N, 1, 8, 8)``."""
        x = self.pool(self.pointwise(self.depthwise(self.stem(x))))
        x = self.relu(self.residual(x) + x)
        logits: Tensor = self.classifier(torch.flatten(self.average(x), 1))
        return logits


def _block(channels_in: int, channels_out: int, kernel: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False),
            norm=nn.BatchNorm2d(channels_out),
            relu=nn.ReLU(),
        )
    )


def load_digits() -> Data:
    """The images scaled to ``[0, 1]``, split by class into fixed training, validation and test sets."""
    from sklearn import datasets

    bunch: Any = datasets.load_digits()
    images = (np.asarray(bunch.images, dtype=np.float32) / np.float32(16.0))[:, np.newaxis]
    labels = np.asarray(bunch.target, dtype=np.int64)
    order = _stratified_order(labels)
    test, val, train = np.split(order, [TEST_IMAGES, TEST_IMAGES + VAL_IMAGES])
    return Data(*(Split(images[part], labels[part]) for part in (train, val, test)))


def _stratified_order(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """A shuffled order whose every long stretch holds all classes in proportion."""
    generator = np.random.default_rng(SPLIT_SEED)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(position, kind="stable")


class DigitsRecipe(Recipe):
    """Train `DigitsNet` on `load_digits`."""

    name = "digits"
    input_shape = (1, 8, 8)
    input_range = (0.0, 1.0)
    epochs = 40
    qat_epochs = 6
    lr = 1e-2
    qat_lr = 1e-3
    batch_size = 64
    warmup_epochs = 4
    search_epochs = 12
    tune_epochs = 12
    min_float_metric = 0.97

    def model(self) -> nn.Module:
        """A new `DigitsNet`."""
        return DigitsNet()

    def supernet(self) -> nn.Module:
        """The same with alternatives for the layer that holds most of the weights."""
        return in_place_of(DigitsNet(), ("residual.conv",))

    def data(self) -> Data:
        """1237 training, 200 validation and 360 test images."""
        return load_digits()


recipe = DigitsRecipe()
