# SPDX-License-Identifier: Apache-2.0
"""ResNet8, the image classification network of MLPerf Tiny (`ic`)."""

from __future__ import annotations

from torch import Tensor, nn


class _Block(nn.Module):
    """Two 3x3 convolutions and a way around them, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        changes = stride != 1 or channels_in != channels
        self.skip = nn.Conv2d(channels_in, channels, 1, stride) if changes else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu2(inner + self.skip(x))
        return result


class ResNet8(nn.Module):
    """12,501,632 multiply-accumulates, 77,706 weights and biases.

    Input (N, channels, 32, 32), output (N, classes), logits.
    The reference's convolutions have biases before their batch normalization, and so have these.

    Args:
        classes: outputs.
        channels: of the input; the count above is for 3.
        width: multiplies the channels of every layer, rounded; 1 is the reference. For comparisons with uniform
            scaling.
    """

    def __init__(self, classes: int = 10, channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        first, second, third = (max(1, round(base * width)) for base in (16, 32, 64))
        self.conv = nn.Conv2d(channels, first, 3, padding=1)
        self.bn = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.block1 = _Block(first, first, 1)
        self.block2 = _Block(first, second, 2)
        self.block3 = _Block(second, third, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(third, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.relu(self.bn(self.conv(x)))
        x = self.block3(self.block2(self.block1(x)))
        result: Tensor = self.fc(self.flatten(self.pool(x)))
        return result
