# SPDX-License-Identifier: Apache-2.0
"""Folding and unfolding of batch norms: the function stays, the values come back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy.search.graph.bn import FoldedNorm, fold, unfold
from plinio_deploy.search.methods.pit import PIT
from tests.search.methods.pit.check import call, difference, randomize_masks, shaken
from tests.search.methods.pit.toys import DSCNN, SimpleNN, TCResNet


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_fold_then_unfold_gives_the_values_back(bias: bool, transposed: bool) -> None:
    conv = (nn.ConvTranspose2d if transposed else nn.Conv2d)(3, 5, 3, bias=bias).double()
    norm = nn.BatchNorm2d(5).double()
    both = shaken(nn.Sequential(conv, norm)).eval()
    weight, gamma, beta = conv.weight.detach().clone(), norm.weight.detach().clone(), norm.bias.detach().clone()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    want = call(both, (x,))
    own = fold(conv, norm)
    assert difference(want, call(conv, (x,))) < 1e-12
    unfold(conv, FoldedNorm("", norm, own), norm)
    assert difference(want, call(both, (x,))) < 1e-12
    assert torch.allclose(conv.weight, weight)
    assert torch.allclose(norm.weight, gamma)
    assert torch.allclose(norm.bias, beta)
    assert (conv.bias is not None) is bias


def test_an_erased_channel_survives() -> None:
    conv, norm = nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4)
    both = shaken(nn.Sequential(conv, norm)).eval()
    with torch.no_grad():
        norm.weight[1] = 0
    x = torch.randn(2, 3, 5)
    want = call(both, (x,))
    unfold(conv, FoldedNorm("", norm, fold(conv, norm)), norm)
    assert difference(want, call(both, (x,))) < 1e-5


@pytest.mark.parametrize("build", [SimpleNN, TCResNet, DSCNN])
@pytest.mark.parametrize("add_bn", [True, False])
def test_search_with_folded_norms(build: Any, add_bn: bool) -> None:
    model = build()
    shaken(model).eval()
    shape = model.input_shape
    before = {name: value.clone() for name, value in model.state_dict().items()}
    searched = PIT(model, input_shape=shape, fold_bn=True)
    inputs = torch.randn(3, *shape)
    assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in searched.seed.modules())
    assert difference(call(model, (inputs,)), call(searched, (inputs,))) < 1e-5
    with torch.no_grad():
        for parameter in searched.net_parameters():
            parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
    randomize_masks(searched, 1)
    exported = searched.export(add_bn=add_bn).eval()
    assert difference(call(searched, (inputs,)), call(exported, (inputs,))) < 1e-5
    norms = [path for path, module in exported.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    own = [path for path, module in model.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert sorted(norms) == (sorted(own) if add_bn else [])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
