# SPDX-License-Identifier: Apache-2.0
"""MobileNetV1 at a quarter of its width, the visual wake words network of MLPerf Tiny (`vww`)."""

from __future__ import annotations

from torch import Tensor, nn

PLAN = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Channels at full width and stride of each separable block."""


def _separable(channels_in: int, channels: int, stride: int) -> list[nn.Module]:
    """A depthwise 3x3 and a pointwise convolution."""
    return [
        nn.Conv2d(channels_in, channels_in, 3, stride, padding=1, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(),
        nn.Conv2d(channels_in, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]


class MobileNetV1(nn.Module):
    """7,489,664 multiply-accumulates.

    Input (N, 3, 96, 96), output (N, classes), logits. The reference's strided layers pad below and right only; here the
    padding is symmetric, which gives the same sizes.

    Args:
        classes: outputs; the count above is for 2.
        width: multiplies the channels of every layer, rounded; 0.25 is the reference.
    """

    def __init__(self, classes: int = 2, width: float = 0.25) -> None:
        super().__init__()
        channels = max(1, round(32 * width))
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        for full, stride in PLAN:
            following = max(1, round(full * width))
            layers += _separable(channels, following, stride)
            channels = following
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        result: Tensor = self.fc(self.flatten(self.pool(self.features(x))))
        return result
