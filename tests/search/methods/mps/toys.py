# SPDX-License-Identifier: Apache-2.0
"""Small networks and helpers for the tests of mixed precision."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.search.methods.mps import MPS, MPSType, get_default_qinfo
from plinio_deploy.search.methods.mps.choice import Choice
from plinio_deploy.search.methods.mps.quantizers import MixedLayer


class Residual(nn.Module):
    """A convolution with batch norm, a residual block, a depthwise layer, concat, a linear layer."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.outer = nn.Conv2d(6, 6, 1)
        self.deep = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.side = nn.Conv2d(6, 5, 1)
        self.fc = nn.Linear(11 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        y = self.outer(F.relu(self.inner(x)))
        x = F.relu(x + y)
        x = torch.cat([F.relu(self.deep(x)), self.side(x)], 1)
        result: Tensor = self.fc(F.max_pool2d(x, 4).flatten(1))
        return result


class Pair(nn.Module):
    """Two convolutions: 4 to 8 to 4 channels, three by three."""

    input_shape = (4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(4, 8, 3, padding=1, bias=False)
        self.b = nn.Conv2d(8, 4, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.b(F.relu(self.a(x)))
        return result


PRUNED = get_default_qinfo((0, 2, 4, 8), (8,))


def search(model: Any, *, per_channel: bool = False, **options: Any) -> MPS:
    """A search on a toy model, in training mode, calibrated."""
    kind = MPSType.PER_CHANNEL if per_channel else MPSType.PER_LAYER
    mps = MPS(model, input_shape=model.input_shape, w_search_type=kind, **options).train()
    mps.calibrate([torch.rand(8, *model.input_shape, generator=torch.Generator().manual_seed(0))])
    return mps


def shuffle(mps: MPS, seed: int) -> MPS:
    """Random alphas."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for choice in mps.network.choices():
            choice.alpha.copy_(torch.randn(choice.alpha.shape, generator=generator))
    return mps


def layer(mps: MPS, path: str) -> MixedLayer:
    """The searched layer at a path."""
    for node in mps.network.nodes:
        if node.path == path:
            found = mps.network.layers[mps.network.layer_of[node.name]]
            assert isinstance(found, MixedLayer)
            return found
    raise AssertionError(path)


def put(choice: Choice, values: Any) -> None:
    """Set alphas."""
    with torch.no_grad():
        choice.alpha.copy_(torch.as_tensor(values, dtype=torch.float32))
