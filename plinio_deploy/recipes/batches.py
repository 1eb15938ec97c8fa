# SPDX-License-Identifier: Apache-2.0
"""Batches out of whatever a recipe calls its data: arrays, a torch data set or a loader."""

from __future__ import annotations

import hashlib
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
        batch_size: samples per batch; a ``DataLoader`` keeps its own. A single sample that is left at the end of a
            shuffled `Split` goes into the batch before.
        generator: shuffles if given; a ``DataLoader`` shuffles as it was told, from torch's global generator.
    """
    if isinstance(source, Split):
        total = len(source)
        order = torch.arange(total) if generator is None else torch.randperm(total, generator=generator)
        x, y = torch.from_numpy(source.x), torch.from_numpy(np.asarray(source.y))
        chunks = [order[first : first + batch_size] for first in range(0, total, batch_size)]
        if generator is not None and len(chunks) > 1 and len(chunks[-1]) == 1 < batch_size:
            chunks[-2:] = [torch.cat(chunks[-2:])]  # batch norms cannot train on a single vector
        for chosen in chunks:
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


LOOKED_AT = 256
"""Samples of a torch data set that `fingerprint` reads."""


def fingerprint(source: Any) -> str:
    """Digest of a torch data set or loader: its type, its length, and what some of its samples hold.

    Samples lie evenly over the set. One that is not the same when it is read again (random augmentation) counts with
    its size alone, a set that cannot be indexed with its type and length alone.
    """
    held: Any = source.dataset if isinstance(source, DataLoader) else source
    length = len(held) if hasattr(held, "__len__") else None
    state = hashlib.sha256(f"{type(source).__qualname__} {type(held).__qualname__} {length}".encode())
    if length and hasattr(held, "__getitem__"):
        with torch.random.fork_rng(devices=[]):
            for index in sorted({round(place) for place in np.linspace(0, length - 1, min(length, LOOKED_AT))}):
                first, again = (_content(held[index]) for _ in range(2))
                state.update(first if first == again else str(len(first)).encode())
    return state.hexdigest()


def _content(sample: Any) -> bytes:
    """Bytes of a sample: of arrays and numbers their values, of tuples those of their parts, of others their type."""
    if isinstance(sample, tuple | list):
        return b"".join(_content(part) for part in sample)
    if isinstance(sample, Tensor | np.ndarray | np.generic | int | float | bool):
        array = sample.detach().cpu().numpy() if isinstance(sample, Tensor) else np.asarray(sample)
        return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
    return type(sample).__qualname__.encode()
