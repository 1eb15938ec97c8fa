# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from plinio_deploy import MPS, MPSType, cost, get_default_qinfo
from plinio_deploy.errors import UsageError
from plinio_deploy.integerize import integerize
from plinio_deploy.network import Conv, Linear


def searched(precisions: tuple[int, ...], kind: MPSType, seed: int = 0) -> MPS:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
    )
    x = torch.rand(8, 3, 4, 4)
    mps = MPS(
        model,
        {"size": cost.params_bit},
        x,
        w_search_type=kind,
        qinfo=get_default_qinfo(precisions, (8,)),
        full_cost=True,
        hard_softmax=True,
        calibration=[x],
    )
    with torch.no_grad():
        for parameter in mps.nas_parameters():
            parameter.copy_(torch.rand_like(parameter))
    return mps


def packed_bits(mps: MPS) -> int:
    network = integerize(mps.export().eval(), "settled")
    return sum(sum(op.weights.bits) * op.weights.codes[0].size for op in network.ops if isinstance(op, Conv | Linear))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("precisions", [(2, 4, 8), (0, 2, 4, 8)])
def test_what_is_built_fills_the_limit(precisions: tuple[int, ...], share: float) -> None:
    mps = searched(precisions, MPSType.PER_CHANNEL)
    limit = share * 8 * (16 * 27 + 24 * 144 + 5 * 96)
    reached = mps.settle(limit, "size")
    assert packed_bits(mps) == reached
    assert 0.9 * limit < reached <= limit
    assert mps.training


def test_all_bits_where_there_is_room_for_them() -> None:
    mps = searched((2, 4, 8), MPSType.PER_LAYER)
    whole = 8 * (16 * 27 + 24 * 144 + 5 * 96)
    assert mps.settle("1 MB", "size") == whole == packed_bits(mps)


def test_what_the_search_prefers_keeps_its_bits() -> None:
    mps = searched((2, 8), MPSType.PER_CHANNEL)
    choice = mps.network.choices()[0]
    preference = (choice.alpha[1] - choice.alpha[0]).detach()
    mps.settle("50 %", "size")
    wide = choice.best() == 1
    assert 0 < int(wide.sum()) < len(wide)
    assert preference[wide].min() >= preference[~wide].max() - 1e-4


def test_where_nothing_is_searched_the_cost_is_within_the_limit_or_not() -> None:
    mps = searched((4,), MPSType.PER_LAYER)
    whole = 4 * (16 * 27 + 24 * 144 + 5 * 96)
    assert mps.settle(whole, "size") == whole
    with pytest.raises(UsageError, match="no choice of precisions"):
        mps.settle(whole - 1, "size")


def test_a_limit_below_the_least_is_refused_and_changes_nothing() -> None:
    mps = searched((2, 4, 8), MPSType.PER_CHANNEL)
    before = [parameter.detach().clone() for parameter in mps.nas_parameters()]
    with pytest.raises(UsageError, match="no choice of precisions"):
        mps.settle(100.0, "size")
    assert all(torch.equal(a, b) for a, b in zip(before, mps.nas_parameters(), strict=True))


def test_the_room_that_is_left_holds_no_more_bits_of_any_layer() -> None:
    for seed in range(4):
        mps = searched((2, 4, 8), MPSType.PER_LAYER, seed)
        limit = 0.55 * 8 * (16 * 27 + 24 * 144 + 5 * 96)
        reached = mps.settle(limit, "size")
        assert packed_bits(mps) == reached
        mps.eval()
        for choice in mps.network.choices():
            kept = choice.alpha.detach().clone()
            for dearer in range(int(choice.best()) + 1, 3):
                with torch.no_grad():
                    choice.alpha.copy_(kept)[dearer] = 100.0
                assert float(mps.get_cost("size").detach()) > limit
            choice.alpha.data.copy_(kept)


def test_a_bit_is_taken_where_most_are_saved_by_it() -> None:
    mps = searched((4, 8), MPSType.PER_LAYER)
    first, second, last = mps.network.choices()
    with torch.no_grad():
        for choice, worth in ((first, 1.0), (second, 1.5), (last, 1.0)):
            choice.alpha.copy_(torch.tensor([0.0, worth]))
    mps.settle("65 %", "size")  # 3456 of 4368 weights are the second layer's
    assert [int(choice.best()) for choice in (first, second, last)] == [1, 0, 1]


def test_the_first_steps_of_an_optimizer_change_no_precision() -> None:
    mps = searched((2, 4, 8), MPSType.PER_CHANNEL)
    reached = mps.settle("60 %", "size")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in mps.nas_parameters():
            parameter.add_(0.1 * torch.sign(torch.randn_like(parameter)))
    assert packed_bits(mps) == reached
