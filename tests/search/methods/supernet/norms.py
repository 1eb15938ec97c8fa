# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from torch import nn

NORM: tuple[Any, ...] = (None, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def frozen_norm(axes: int, channels: int) -> nn.Module:
    """A batch norm in eval mode with values of its own."""
    norm = NORM[axes](channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm.eval()  # type: ignore[no-any-return]
