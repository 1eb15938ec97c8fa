# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from plinio_deploy.recipe import Split
from plinio_deploy.recipes.batches import as_split, fingerprint, iterate

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


def test_no_sample_is_left_alone_in_training() -> None:
    def sizes(batch_size: int, generator: torch.Generator | None) -> list[int]:
        return [len(x) for x, _ in iterate(SPLIT, batch_size, generator)]

    shuffled = torch.Generator().manual_seed(0)
    assert sizes(3, shuffled) == [3, 3, 4]
    assert sizes(9, shuffled) == [10]
    assert sizes(1, shuffled) == [1] * 10
    assert sizes(3, None) == [3, 3, 3, 1]
    assert list(iterate(Split(X[:0].numpy(), Y[:0].numpy()), 4, shuffled)) == []


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


def test_a_fingerprint_follows_the_samples_of_a_data_set() -> None:
    x = torch.arange(12.0).reshape(6, 2)
    y = torch.arange(6)
    same = fingerprint(TensorDataset(x, y))
    assert same == fingerprint(TensorDataset(x.clone(), y.clone()))
    changed = x.clone()
    changed[5, 1] = -1
    assert same != fingerprint(TensorDataset(changed, y))
    assert same != fingerprint(TensorDataset(x, y.flip(0)))
    assert same != fingerprint(TensorDataset(x[:5], y[:5]))
    assert fingerprint(DataLoader(TensorDataset(x, y))) != fingerprint(DataLoader(TensorDataset(changed, y)))


def test_a_fingerprint_of_random_samples_is_steady_and_leaves_the_generator_alone() -> None:
    class Noisy(Dataset[Tensor]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Tensor:
            return torch.rand(2)

    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = fingerprint(Noisy())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert fingerprint(Noisy()) == first


def test_a_fingerprint_takes_what_cannot_be_indexed() -> None:
    assert fingerprint(iter([1])) == fingerprint(iter([2]))
