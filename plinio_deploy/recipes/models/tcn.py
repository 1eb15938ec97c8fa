# SPDX-License-Identifier: Apache-2.0
"""A temporal convolutional network (TCN): causal 1-D convolutions whose receptive fields can be searched.

Ours, in the manner of the residual TCNs that PIT was published on: seeds have dilation 1 and a kernel that spans what a
dilated one would; the search finds receptive field and dilation.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class _CausalConv(nn.Module):
    """A 1-D convolution that sees no later sample: all of its padding is on the left."""

    def __init__(self, channels_in: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((kernel - 1, 0), 0.0)
        self.conv = nn.Conv1d(channels_in, channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(self.pad(x))
        return result


class _Block(nn.Module):
    """Two causal convolutions, halving in time, and a pointwise way around them."""

    def __init__(self, channels_in: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = _CausalConv(channels_in, channels, kernel)
        self.bn1 = nn.BatchNorm1d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = _CausalConv(channels, channels, kernel)
        self.bn2 = nn.BatchNorm1d(channels)
        self.skip = nn.Conv1d(channels_in, channels, 1)
        self.relu2 = nn.ReLU()
        self.pool = nn.AvgPool1d(2)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        result: Tensor = self.pool(self.relu2(inner + self.skip(x)))
        return result


class TCN(nn.Module):
    """4,775,984 multiply-accumulates at the defaults.

    Input (N, inputs, 256), output (N, outputs): 256 samples are 8 s at 32 Hz, as for heart rate from PPG.

    Args:
        inputs: channels of the signal.
        outputs: numbers to predict.
        kernel: taps of the seed's causal convolutions.
        width: multiplies the channels of every layer, rounded.
    """

    def __init__(self, inputs: int = 1, outputs: int = 1, kernel: int = 9, width: float = 1.0) -> None:
        super().__init__()
        sizes = [inputs, *(max(1, round(base * width)) for base in (16, 32, 48))]
        self.blocks = nn.Sequential(*(_Block(a, b, kernel) for a, b in pairwise(sizes)))
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Predictions."""
        result: Tensor = self.fc(self.flatten(self.pool(self.blocks(x))))
        return result
