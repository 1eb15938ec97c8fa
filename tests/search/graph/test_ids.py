# SPDX-License-Identifier: Apache-2.0
"""Identifiers: a union-find whose zero is frozen, and their spread over tensors."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.search.graph.ids import FROZEN, Features, Ids, spread, varying_axes

pairs = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30)


@given(pairs)
def test_unify_is_the_smallest_equivalence(given_pairs: list[tuple[int, int]]) -> None:
    ids = Ids()
    ids.fresh(20)
    classes = [{item} for item in range(21)]
    for a, b in given_pairs:
        ids.unify(np.array([a]), np.array([b]))
        joined = next(c for c in classes if a in c) | next(c for c in classes if b in c)
        classes = [c for c in classes if not c & joined] + [joined]
    found = ids.find(np.arange(21))
    for c in classes:
        assert {int(found[item]) for item in c} == {min(c)}


def test_frozen_wins() -> None:
    ids = Ids()
    a, b = ids.fresh(3), ids.fresh(3)
    ids.unify(a, b)
    ids.freeze(b[1:2])
    assert ids.find(a).tolist() == [1, FROZEN, 3]


def test_broadcast_ties_rows() -> None:
    ids = Ids()
    table = ids.fresh(6).reshape(2, 3)
    ids.unify(table, table[:1])
    assert ids.find(table).tolist() == [[1, 2, 3], [1, 2, 3]]


def test_spread_uses_no_memory_and_varies_along_one_axis() -> None:
    shape = torch.Size((2, 3, 64, 64))
    full = spread(Features(1, np.array([5, 6, 7])), shape)
    assert full.shape == shape
    assert full.untyped_storage().nbytes() == 3 * 8
    assert varying_axes(full) == [1]
    assert varying_axes(full.flatten(1)) == [1]
    assert varying_axes(spread(None, shape)) == []
