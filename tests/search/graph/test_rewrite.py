# SPDX-License-Identifier: Apache-2.0
"""Rewriting: what an exported graph is made of. That it computes the same is checked in `tests/search/methods/pit`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.search.graph.rewrite import merged_padding
from plinio_deploy.search.methods.pit import PIT
from tests.search.methods.pit.test_constructs import Cnn


def targets(body: Callable[[Cnn, Tensor], Tensor], width: int) -> list[str]:
    """Names of the functions and methods of an export in which channels 0, 2, 5, 8 and 11 of conv1 live."""
    searched = PIT(Cnn(body, width=width), input_shape=(3, 4, 4))
    mask = searched.pit_layers()["conv1"].out_features_masker
    assert mask is not None
    with torch.no_grad():
        mask.alpha.copy_(torch.tensor([1.0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1]))
    exported = searched.export()
    return [getattr(node.target, "__name__", str(node.target)) for node in exported.graph.nodes]


def test_contiguous_slices_stay_slices() -> None:
    assert "narrow" in targets(lambda m, x: m.a(x)[:, 2:9], 7)
    assert "getitem" in targets(lambda m, x: m.a(x)[:, :12], 12)  # right as it stands: left alone


def test_other_slices_become_selections() -> None:
    assert "index_select" in targets(lambda m, x: m.a(x)[:, ::5], 3)


def test_chunks_become_splits_of_the_right_sizes() -> None:
    assert "split" in targets(lambda m, x: torch.cat(m.a(x).chunk(3, 1), 1), 12)


def test_views_get_new_sizes() -> None:
    assert "reshape" in targets(lambda m, x: m.a(x).view(-1, 12, 16).mean(2).view(-1, 12, 1, 1), 12)


@pytest.mark.parametrize(
    ("first", "second"), [((2, 1), (3, 0)), ((4, 1), (-2, -3)), ((0, 0), (1, -1)), ((-1, 0), (-2, 3))]
)
def test_paddings_merge(first: tuple[int, int], second: tuple[int, int]) -> None:
    a, b = nn.ConstantPad1d(first, 0.0), nn.ConstantPad1d(second, 0.0)
    x = torch.rand(1, 2, 9)
    both = merged_padding(a, b)
    assert both is not None
    assert torch.equal(both(x), F.pad(F.pad(x, first), second))


def test_paddings_that_do_not_merge() -> None:
    assert merged_padding(nn.ConstantPad1d((-1, 0), 0.0), nn.ConstantPad1d((1, 0), 0.0)) is None
    assert merged_padding(nn.ConstantPad1d(1, 0.5), nn.ConstantPad1d(1, 0.0)) is None
    assert merged_padding(nn.ReLU(), nn.ConstantPad1d(1, 0.0)) is None
