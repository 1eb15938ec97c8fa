# SPDX-License-Identifier: Apache-2.0
"""DS-CNN, the keyword spotting network of MLPerf Tiny (`kws`)."""

from __future__ import annotations

from torch import Tensor, nn


def _separable(channels: int) -> list[nn.Module]:
    """A depthwise 3x3 and a pointwise convolution."""
    return [
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]


class DSCNN(nn.Module):
    """2,656,768 multiply-accumulates.

    Input (N, 1, 49, 10): 49 frames of 10 MFCC; output (N, classes), logits. The reference pads the 49 rows of the first
    layer with 4 above and 5 below; here it is 5 on both sides, which gives the same 25 x 5 outputs.

    Args:
        classes: outputs; the count above is for 12.
        width: multiplies the channels of every layer, rounded; 1 is the reference's 64.
    """

    def __init__(self, classes: int = 12, width: float = 1.0) -> None:
        super().__init__()
        channels = max(1, round(64 * width))
        blocks = [layer for _ in range(4) for layer in _separable(channels)]
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, (10, 4), 2, padding=(5, 1)),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(0.2),
            *blocks,
            nn.Dropout(0.4),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        result: Tensor = self.fc(self.flatten(self.pool(self.features(x))))
        return result
