# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from plinio_deploy.recipe import Split
from plinio_deploy.recipes.batches import as_split, iterate

X = torch.arange(20, dtype=torch.float32).reshape(10, 2)
Y = torch.arange(10)
SPLIT = Split(X.numpy(), Y.numpy())


def test_arrays_in_order_and_whole() -> None:
    batches = list(iterate(SPLIT, 4, None))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([x for x, _ in batches]), X)


def test_shuffling_keeps_pairs_and_follows_its_generator() -> None:
    def labels(seed: int) -> list[int]:
        batches = list(iterate(SPLIT, 4, torch.Generator().manual_seed(seed)))
        assert all(torch.equal(x[:, 0], 2.0 * y) for x, y in batches)
        return torch.cat([y for _, y in batches]).tolist()

    assert labels(1) == labels(1) != labels(2)
    assert sorted(labels(1)) == list(range(10))


def test_data_sets_and_loaders() -> None:
    dataset = TensorDataset(X, Y)
    assert len(list(iterate(dataset, 4, None))) == 3
    shuffled = torch.cat([y for _, y in iterate(dataset, 4, torch.Generator().manual_seed(3))])
    assert sorted(shuffled.tolist()) == list(range(10))
    assert len(list(iterate(DataLoader(dataset, batch_size=5), 4, None))) == 2


def test_everything_becomes_arrays() -> None:
    assert as_split(SPLIT) is SPLIT
    found = as_split(TensorDataset(X.double(), Y))
    assert found.x.dtype == np.float32
    assert np.array_equal(found.x, X.numpy())
    assert np.array_equal(found.y, Y.numpy())
