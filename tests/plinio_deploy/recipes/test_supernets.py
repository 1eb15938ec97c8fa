# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from plinio_deploy.recipes.supernets import alternatives, bottleneck, fewer_taps, in_place_of, narrow_middle


@pytest.mark.parametrize(
    "own", [nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(6, 6, 3, 2, padding=1)]
)
def test_alternatives_of_a_convolution_have_its_shape_and_it_comes_first(own: nn.Conv2d) -> None:
    found = alternatives(own)
    assert found[0] is own
    assert len(found) > 1
    x = torch.rand(2, 6, 8, 8)
    assert {tuple(branch(x).shape) for branch in found} == {tuple(own(x).shape)}


def test_a_narrow_middle_has_fewer_weights() -> None:
    own, other = narrow_middle(nn.Conv2d(64, 64, 1))
    x = torch.rand(2, 64, 3, 3)
    assert own(x).shape == other(x).shape
    assert sum(p.numel() for p in other.parameters()) < sum(p.numel() for p in own.parameters())


def test_fewer_taps_see_as_far_back() -> None:
    own, sparse = fewer_taps(nn.Conv1d(2, 3, 9))
    x = torch.rand(1, 2, 20)
    assert own(x).shape == sparse(x).shape
    assert len(fewer_taps(nn.Conv1d(2, 3, 8))) == 1


def test_a_bottleneck_keeps_inputs_and_outputs() -> None:
    own, other = bottleneck(nn.Linear(40, 20))
    assert own(torch.rand(3, 40)).shape == other(torch.rand(3, 40)).shape


def test_layers_are_replaced_by_path() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1)), nn.Flatten(), nn.Linear(64, 8))
    before = model(torch.ones(1, 1, 4, 4))
    changed = in_place_of(model, ("0.0", "2")).eval()
    assert torch.equal(changed(torch.ones(1, 1, 4, 4)), before), "the first alternative is the model's own layer"
    assert "0.0.branches.0.weight" in changed.state_dict()
    assert "2.branches.1.2.weight" in changed.state_dict()
