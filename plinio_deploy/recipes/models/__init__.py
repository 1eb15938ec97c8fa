# SPDX-License-Identifier: Apache-2.0
"""Reference networks as plain modules, with the multiply-accumulates of the networks they stand for."""

from __future__ import annotations

from plinio_deploy.recipes.models.autoencoder import Autoencoder
from plinio_deploy.recipes.models.ds_cnn import DSCNN
from plinio_deploy.recipes.models.mobilenet_v1 import MobileNetV1
from plinio_deploy.recipes.models.resnet8 import ResNet8
from plinio_deploy.recipes.models.tcn import TCN

__all__ = ["DSCNN", "TCN", "Autoencoder", "MobileNetV1", "ResNet8"]
