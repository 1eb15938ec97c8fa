# SPDX-License-Identifier: Apache-2.0
"""Batches out of whatever a recipe calls its data: arrays, a torch data set or a loader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from plinio_deploy.recipe import Split


def iterate(source: Any, batch_size: int, generator: torch.Generator | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches ``(x, y)`` of a `Split`, a ``Dataset`` or a ``DataLoader``.

    Args:
        source: the samples.
        batch_size: samples per batch; a ``DataLoader`` keeps its own.
        generator: shuffles if given; a ``DataLoader`` shuffles as it was told, from torch's global generator.
    """
    if isinstance(source, Split):
        total = len(source)
        order = torch.arange(total) if generator is None else torch.randperm(total, generator=generator)
        x, y = torch.from_numpy(source.x), torch.from_numpy(np.asarray(source.y))
        for first in range(0, total, batch_size):
            chosen = order[first : first + batch_size]
            yield x[chosen], y[chosen]
        return
    loader: Any = source
    if isinstance(source, Dataset):
        loader = DataLoader(source, batch_size, shuffle=generator is not None, generator=generator)
    for batch in loader:
        yield batch[0], batch[1]


def as_split(source: Any, batch_size: int = 256) -> Split:
    """All samples as arrays, in order."""
    if isinstance(source, Split):
        return source
    batches = list(iterate(source, batch_size, None))
    x = torch.cat([batch[0] for batch in batches]).numpy().astype(np.float32, copy=False)
    return Split(x, torch.cat([torch.as_tensor(batch[1]) for batch in batches]).numpy())
