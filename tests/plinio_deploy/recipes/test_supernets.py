# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from plinio_deploy.recipes.supernets import (
    Factored,
    alternatives,
    bottleneck,
    fewer_taps,
    in_place_of,
    narrow_middle,
    start_alternatives,
)
from plinio_deploy.search.methods.supernet import SuperNetModule


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


def last_alternative(model: nn.Module) -> Factored:
    choice = model.get_submodule("0")
    assert isinstance(choice, SuperNetModule)
    found = choice.branches[-1]
    assert isinstance(found, Factored)
    return found


def test_wide_convolutions_may_have_two_filters_per_input() -> None:
    assert [len(found.first) for found in alternatives(nn.Conv2d(32, 8, 3)) if isinstance(found, Factored)] == [1, 2]
    assert [len(found.first) for found in alternatives(nn.Conv2d(31, 8, 3)) if isinstance(found, Factored)] == [1]


@pytest.mark.parametrize(("taps", "inputs", "outputs"), [(1, 16, 12), (1, 16, 3), (3, 16, 12), (3, 32, 12)])
def test_an_alternative_starts_as_the_nearest_to_trained_weights(taps: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    own = nn.Conv2d(inputs, outputs, taps, padding=taps // 2)
    bias = own.get_parameter("bias")
    with torch.no_grad():  # one that can be had exactly: of low rank, or as many times separable as it has filters
        if taps == 1:
            own.weight.copy_((torch.rand(outputs, 3) @ torch.rand(3, inputs)).view(own.weight.shape))
        else:
            separable = [torch.rand(outputs, inputs, 1, 1) * torch.rand(1, inputs, 3, 3) for _ in range(inputs // 16)]
            own.weight.copy_(torch.stack(separable).sum(0))
    model = in_place_of(nn.Sequential(own), ("0",))
    start_alternatives(model)
    found = last_alternative(model)
    x = torch.rand(8, inputs, 6, 6)
    with torch.no_grad():
        convolved = [part.get_submodule("0")(x) for part in found.first]
        normed = [part.get_submodule("1").train()(each) for part, each in zip(found.first, convolved, strict=True)]
        linear = nn.functional.conv2d(torch.cat(convolved, 1), found.second.weight, bias)
        torch.testing.assert_close(linear, own(x), rtol=1e-4, atol=1e-4)
        # Behind the ReLU most stays as it was, and the second bias takes away what the norm's added.
        used = torch.cat([part.get_parameter("0.weight").flatten(1).any(1) for part in found.first])
        assert (torch.cat(normed, 1)[:, used] > 0).float().mean() > 0.9
        biases = torch.cat([part.get_parameter("1.bias") for part in found.first])
        torch.testing.assert_close(found.second(biases.view(1, -1, 1, 1)).flatten(), bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("own", [nn.Linear(8, 8), nn.Conv2d(4, 8, 3, padding=1, groups=2)])
def test_an_alternative_that_cannot_start_from_another_stays(own: nn.Module) -> None:
    model = in_place_of(nn.Sequential(own), ("0",))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start_alternatives(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
