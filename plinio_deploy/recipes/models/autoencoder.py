# SPDX-License-Identifier: Apache-2.0
"""The autoencoder for anomaly detection of MLPerf Tiny (`ad`)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Autoencoder(nn.Module):
    """264,192 multiply-accumulates: 640-128-128-128-128-8-128-128-128-128-640.

    Input (N, inputs): five frames of 128 log mel energies; output of the same shape.

    Args:
        inputs: size of one sample.
        hidden: of the eight outer layers.
        code: of the middle one.
    """

    def __init__(self, inputs: int = 640, hidden: int = 128, code: int = 8) -> None:
        super().__init__()
        sizes = (inputs, *(hidden,) * 4, code, *(hidden,) * 4)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, inputs))

    def forward(self, x: Tensor) -> Tensor:
        """The input as the network remembers it."""
        result: Tensor = self.layers(x)
        return result
