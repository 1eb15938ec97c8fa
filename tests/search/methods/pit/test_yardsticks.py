# SPDX-License-Identifier: Apache-2.0
"""PIT's yardstick behaviours (reference inventory, section 6, items 1 to 18), with their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.search.cost import ops, params
from plinio_deploy.search.methods.pit import PIT
from plinio_deploy.search.methods.pit.layers import PITLayer
from plinio_deploy.search.methods.pit.masks import dilation_mask, timestep_mask
from tests.search.methods.pit.check import call, difference, equivalent, randomize_masks, shaken
from tests.search.methods.pit.toys import (
    DSCNN,
    Repeated,
    SimpleNN,
    TCResNet,
    ToyAdd,
    ToyConcat,
    ToyMultiPath,
    ToySlices,
)

COSTS = {"params": params, "ops": ops}
ALPHA = [0.7, 0.2, 0.6, 0.4, 0.9, 0.1, 0.3, 0.3, 0.95, 1.0]


def search(model: Any, **options: Any) -> PIT:
    return PIT(model, cost=COSTS, input_shape=model.input_shape, **options)


def put(parameter: nn.Parameter | None, values: Sequence[float]) -> None:
    assert parameter is not None
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))


def layer(searched: PIT, path: str) -> PITLayer:
    return searched.pit_layers()[path]


def put_alpha(searched: PIT, path: str, values: Sequence[float]) -> None:
    mask = layer(searched, path).out_features_masker
    assert mask is not None
    put(mask.alpha, values)


def put_taps(searched: PIT, path: str, which: str, values: Sequence[float]) -> None:
    mask = getattr(layer(searched, path), f"{which}_masker")
    put(mask.parameter, values)


def costs(searched: PIT) -> tuple[float, float]:
    return searched.get_cost("params").item(), searched.get_cost("ops").item()


def some(count: int, alive: int) -> list[float]:
    """Masks with this many channels alive, the last among them, the dead ones first."""
    return [0.0] * (count - alive) + [1.0] * alive


def test_01_toy_add_costs() -> None:
    assert costs(search(ToyAdd())) == (1502, 10422)


def test_02_discrete_cost() -> None:
    searched = search(ToyAdd(), discrete_cost=True)
    put_alpha(searched, "conv0", ALPHA)
    put_taps(searched, "conv1", "timestep", [0.2, 0.6, 0.7])
    assert costs(searched) == (887, 5197)
    assert searched.summary()["conv2"]["in_features"] == 5


def test_03_continuous_cost() -> None:
    searched = search(ToyAdd())
    put_alpha(searched, "conv0", ALPHA)
    put_taps(searched, "conv1", "timestep", [0.2, 0.6, 0.7])
    assert costs(searched) == pytest.approx((926.570, 5430.551), rel=1e-6)


def test_04_dilation() -> None:
    searched = search(ToyAdd(), discrete_cost=True)
    put_alpha(searched, "conv0", ALPHA)
    put_taps(searched, "conv1", "timestep", [0.2, 0.6, 0.7])
    put_taps(searched, "conv2", "dilation", [0.1, 0.9, 0.85])
    assert costs(searched) == (687, 3797)
    assert searched.summary()["conv2"]["kernel_size"] == (3,)
    assert searched.summary()["conv2"]["dilation"] == (2,)


def test_05_toy_add_2d() -> None:
    discrete, continuous = search(ToyAdd(2), discrete_cost=True), search(ToyAdd(2))
    assert costs(discrete) == (7542, 373942)
    for searched in (discrete, continuous):
        put_alpha(searched, "conv0", ALPHA)
    assert costs(discrete) == (4762, 188442)
    assert costs(continuous) == pytest.approx((5012.200, 205137.03), rel=1e-6)
    put_alpha(discrete, "conv2", [0.1, 0.25, 0.6, 0.8, *[1.0] * 16])
    assert costs(discrete) == (4314, 175898)


@pytest.mark.parametrize(
    ("values", "theta", "binary"),
    [([0.25, 0.4, 0.4], [0.25, 0.65, 1.65], [0, 1, 1]), ([0.0, 0.1, 0.4], [0, 0.1, 1.1], [0, 0, 1])],
)
def test_06_receptive_field(values: list[float], theta: list[float], binary: list[int]) -> None:
    mask = timestep_mask(3)
    put(mask.parameter, values)
    assert mask.theta().tolist() == pytest.approx(theta)
    assert mask.binary().tolist() == binary


@pytest.mark.parametrize(
    ("values", "theta", "binary"), [([0.2, 0.5], [1.2, 0.2, 1.2], [1, 0, 1]), ([0.6, 0.4], [1.6, 0.6, 1.6], [1, 1, 1])]
)
def test_06_dilation(values: list[float], theta: list[float], binary: list[int]) -> None:
    mask = dilation_mask(3)
    put(mask.parameter, values)
    assert mask.theta().tolist() == pytest.approx(theta)
    assert mask.binary().tolist() == binary


def test_07_keep_alive() -> None:
    searched = search(ToyAdd())
    for parameter in searched.nas_parameters():
        put(parameter, [0.05] * parameter.numel())
    conv = layer(searched, "conv1")
    assert conv.out_features_masker is not None
    assert conv.timestep_masker is not None
    assert conv.dilation_masker is not None
    assert conv.out_features_masker.theta()[-1].item() >= 1
    assert conv.timestep_masker.theta()[-1].item() >= 1
    assert conv.dilation_masker.theta()[-1].item() >= 1
    assert searched.summary()["conv1"] == {
        "in_features": 3, "out_features": 1, "kernel_size": (1,), "dilation": (2,),
    }  # fmt: skip


@pytest.mark.slow
def test_08_cost_alone_shrinks_everything() -> None:
    torch.set_num_threads(1)
    searched = PIT(ToyAdd(), input_shape=(3, 15))
    weights = [parameter.detach().clone() for parameter in searched.net_parameters()]
    optimizer = torch.optim.SGD(searched.parameters(), lr=1e-3)
    for _ in range(6000):
        optimizer.zero_grad()
        searched.cost.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = searched.summary()
    assert [found[name]["out_features"] for name in ("conv0", "conv1", "conv2")] == [1, 1, 1]
    assert [found[name]["kernel_size"] for name in ("conv0", "conv1", "conv2")] == [(1,)] * 3
    assert [found[name]["dilation"] for name in ("conv0", "conv1", "conv2")] == [(2,), (2,), (4,)]
    assert all(torch.equal(a, b) for a, b in zip(weights, searched.net_parameters(), strict=True))


def test_09_exported_weights_are_slices() -> None:
    model = SimpleNN()
    searched = search(model)
    put_alpha(searched, "conv0", some(32, 24))
    put_taps(searched, "conv0", "timestep", [0, 1, 1])
    put_alpha(searched, "conv1", some(57, 56))
    put_taps(searched, "conv1", "dilation", [0, 0, 1])
    exported = searched.export()
    conv0, conv1 = exported.get_submodule("conv0"), exported.get_submodule("conv1")
    assert isinstance(conv0, nn.Conv1d)
    assert isinstance(conv1, nn.Conv1d)
    assert (conv0.out_channels, conv0.kernel_size, conv0.dilation) == (24, (2,), (1,))
    assert (conv1.out_channels, conv1.in_channels, conv1.kernel_size, conv1.dilation) == (56, 24, (2,), (4,))
    assert torch.equal(conv0.weight, model.conv0.weight[8:, :, 1:])
    assert torch.equal(conv1.weight, model.conv1.weight[1:, 8:, 0::4])
    assert conv1.bias is not None
    assert model.conv1.bias is not None
    assert torch.equal(conv1.bias, model.conv1.bias[1:])
    assert torch.equal(exported.get_submodule("bn0").weight, model.bn0.weight[8:])  # type: ignore[arg-type]


def test_10_temporal_resnet() -> None:
    model = TCResNet()
    shaken(model).eval()
    searched = search(model)
    put_alpha(searched, "block0.tcn1", some(36, 35))
    put_taps(searched, "block0.tcn1", "timestep", [0] * 6 + [1, 0, 1])
    put_taps(searched, "block0.tcn1", "dilation", [0, 1, 0, 1])
    put_alpha(searched, "block1.tcn1", some(36, 34))
    put_taps(searched, "block1.tcn1", "timestep", [0, 0, *[1] * 7])
    exported = searched.export().eval()
    first, second = exported.get_submodule("block0.tcn1"), exported.get_submodule("block1.tcn1")
    assert isinstance(first, nn.Conv1d)
    assert isinstance(second, nn.Conv1d)
    assert (first.out_channels, first.kernel_size, first.dilation) == (35, (2,), (2,))
    assert (second.out_channels, second.kernel_size, second.dilation) == (34, (7,), (2,))
    inputs = torch.randn(2, 6, 50)
    seen: list[torch.Size] = []
    for conv in (first, second):
        conv.register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    assert difference(call(searched, (inputs,)), call(exported, (inputs,))) < 1e-5
    assert [shape[2] for shape in seen] == [50, 50]


def test_11_depthwise_shares_with_its_producer() -> None:
    searched = search(DSCNN())
    assert len(searched.pit_layers()) == 14
    depthwise, conv1 = layer(searched, "depthwise2"), layer(searched, "conv1")
    assert depthwise.out_features_masker is conv1.out_features_masker
    put_alpha(searched, "conv1", some(64, 48))
    assert searched.summary()["depthwise2"] == {"in_features": 48, "out_features": 48}
    exported = searched.export().get_submodule("depthwise2")
    assert isinstance(exported, nn.Conv2d)
    assert (exported.in_channels, exported.out_channels, exported.groups) == (48, 48, 48)


def test_12_concat_passes_the_sum_of_survivors() -> None:
    searched = search(ToyConcat(), discrete_cost=True)
    assert searched.summary()["conv2"]["in_features"] == 25
    put_alpha(searched, "conv0", [0.0] * 10)
    put_alpha(searched, "conv1", [0.0] * 7 + [1.0] * 7 + [0.0])
    assert searched.summary()["conv2"]["in_features"] == 1 + 8
    assert searched.export().get_submodule("conv2").in_channels == 9


def test_13_multi_path() -> None:
    searched = search(ToyMultiPath())
    layers = searched.pit_layers()
    assert len(layers) == 7
    masks = {path: module.out_features_masker for path, module in layers.items()}
    assert masks["conv2"] is masks["conv4"] is masks["conv5"] is not None
    assert len({id(masks[f"conv{index}"]) for index in (0, 1, 2, 3)}) == 4
    inputs = {path: found["in_features"] for path, found in searched.summary().items()}
    assert inputs == {"conv0": 3, "conv1": 3, "conv2": 50, "conv3": 50, "conv4": 64, "conv5": 64, "fc": 640}
    equivalent(ToyMultiPath(), (3, 40))


def test_14_what_touches_input_or_output_is_frozen() -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 3, groups=3), nn.Conv1d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 6, 4))
    searched = PIT(model, input_shape=(3, 10))
    masks = [module.out_features_masker for module in searched.pit_layers().values()]
    assert [mask is None for mask in masks] == [True, False, True]


@pytest.mark.parametrize(
    ("index", "groups"),
    [
        ("int", 3),
        *((index, groups) for index in ("slice", "list", "tensor", "bool") for groups in (3, 5, 7, 15, 21, 35)),
    ],
)
def test_15_groups_as_slices(groups: int, index: str) -> None:
    # "int" takes single channels by number; such a channel cannot vanish here, so all stay.
    model = ToySlices(groups, index)
    shaken(model).eval()
    searched = search(model)
    size = 105 // groups
    alive = [float(position % size == size - 1) for position in range(105)]  # the last of every group stays anyway
    for position in range(105):
        if sum(alive) < 63:
            alive[position] = 1.0
    mask = layer(searched, "conv0").out_features_masker
    if index == "int":
        assert mask is None
    else:
        put_alpha(searched, "conv0", alive)
        assert searched.summary()["conv0"]["out_features"] == 63
    inputs = torch.randn(2, 3, 8)
    assert difference(call(searched, (inputs,)), call(searched.export().eval(), (inputs,))) < 1e-5


@pytest.mark.parametrize("groups", [3, 5, 7, 15, 21, 35])
def test_15_native_groups(groups: int) -> None:
    """No rewriting into slices: position j of all groups lives and dies together; it stays a group convolution."""
    model = nn.Sequential(
        nn.Conv1d(3, 105, 3), nn.Conv1d(105, 2 * groups, 3, groups=groups), nn.Flatten(), nn.Linear(8 * groups, 2)
    )
    searched = equivalent(model, (3, 8), living=0.6)
    exported = searched.export().get_submodule("1")
    assert isinstance(exported, nn.Conv1d)
    assert exported.groups == groups
    assert exported.in_channels % groups == 0


def test_16_operations_across_channels() -> None:
    """PLiNIO refuses padding of channels and a BN after a convolution with two users: both are exact here.

    `test_constructs.py` has them; the mean over channels is refused there by name.
    """

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.conv(x).mean(1)
            return result

    with pytest.raises(UnsupportedModel, match="along the channel axis"):
        PIT(Mean(), input_shape=(3, 8))


def test_17_modules_called_twice() -> None:
    model = Repeated()
    searched = search(model, full_cost=True)
    once = sum(parameter.numel() for parameter in model.parameters())
    assert len(searched.pit_layers()) == 4
    calls = 3 * (8 * 8 * 3 + 8) * 12 + (8 * 8 + 8) * 12
    assert costs(searched) == (once, 2 * calls)
    equivalent(Repeated(), (8, 12))


@pytest.mark.parametrize("training", [True, False])
def test_18_conversion_changes_nothing(training: bool) -> None:
    for model in (ToyAdd(), SimpleNN(), TCResNet(), DSCNN(), ToyConcat(), ToyMultiPath()):
        shaken(model).train(training)
        searched = search(model)
        assert searched.training is training
        assert all(module.training is training for module in searched.seed.modules())
        inputs = torch.randn(4, *model.input_shape)
        torch.manual_seed(1)
        want = call(model, (inputs,))
        torch.manual_seed(1)
        assert difference(want, call(searched, (inputs,))) < 1e-6


def test_random_masks_on_every_toy() -> None:
    for model in (ToyAdd(), ToyAdd(2), SimpleNN(), TCResNet(), DSCNN(), ToyConcat(), ToyMultiPath()):
        for seed in range(3):
            searched = equivalent(model, tuple(model.input_shape), seed=seed)
            randomize_masks(searched, seed + 10)
