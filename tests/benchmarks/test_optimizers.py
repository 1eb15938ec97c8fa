# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import nn

from benchmarks.optimizers import ADAM_RATE, MUON_RATE, MuonAdam


def test_dense_convolutions_move_orthogonally_and_all_else_by_adam() -> None:
    torch.manual_seed(0)
    dense, depthwise, linear = nn.Conv2d(8, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 2)
    model = nn.Sequential(dense, depthwise, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = MuonAdam(model.parameters())
    assert sorted(group["initial_lr"] for group in optimizer.param_groups) == [ADAM_RATE, MUON_RATE]
    optimizer.zero_grad()
    model(torch.randn(3, 8, 6, 6)).square().sum().backward()
    optimizer.step()
    moved = [
        (p.detach() - old).flatten(1) if p.ndim == 4 else p.detach() - old
        for p, old in zip(model.parameters(), before, strict=True)
    ]
    singular = torch.linalg.svdvals(moved[0]) / MUON_RATE
    assert singular.min() > 0.4
    assert singular.max() < 1.4
    assert torch.allclose(moved[2].abs(), torch.full_like(moved[2], ADAM_RATE), rtol=1e-3)
    assert torch.allclose(moved[4].abs(), torch.full_like(moved[4], ADAM_RATE), rtol=1e-3)


def test_a_parameter_without_a_gradient_stays() -> None:
    used, unused = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    kept = unused.weight.detach().clone()
    optimizer = MuonAdam([*used.parameters(), *unused.parameters()])
    for _ in range(2):
        optimizer.zero_grad()
        used(torch.randn(1, 3, 4, 4)).sum().backward()
        optimizer.step()
    assert torch.equal(unused.weight, kept)


def test_a_model_may_move_to_other_storage() -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)
    optimizer = MuonAdam(conv.parameters())
    conv.weight.data = conv.weight.detach().clone()
    before = conv.weight.detach().clone()
    conv(torch.randn(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(conv.weight, before)
