# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.quantizers import (
    ActivationQuantizer,
    InputQuantizer,
    WeightQuantizer,
    choose_weight_step,
    clamp_codes,
)

BITS = (2, 4, 8)


def codes(quantizer: ActivationQuantizer | InputQuantizer, values: torch.Tensor) -> torch.Tensor:
    return torch.round(quantizer(values) / quantizer.scale) + quantizer.zero_point


def distinct(values: torch.Tensor) -> list[float]:
    return sorted(set(values.flatten().tolist()))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("signed", [False, True])
def test_every_code_of_an_activation_is_reachable(bits: int, signed: bool) -> None:
    quantizer = ActivationQuantizer(bits, signed=signed)
    quantizer.set_clip(1.7)
    found = distinct(codes(quantizer, torch.linspace(-4, 4, 20001)))
    least = -(2 ** (bits - 1)) if signed else 0
    assert found == list(range(least, least + 2**bits))
    assert quantizer.zero_point == 0


@pytest.mark.parametrize("bits", BITS)
def test_every_code_of_a_weight_is_reachable(bits: int) -> None:
    weight = torch.linspace(-1, 1, 4001).unsqueeze(0)
    quantizer = WeightQuantizer((bits,), weight)
    found = distinct(quantizer.codes(torch.linspace(-5, 5, 20001).unsqueeze(0)))
    assert found == list(range(-(2 ** (bits - 1)), 2 ** (bits - 1)))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0), (-0.3, 1.1), (-2.0, -1.0), (3.0, 4.0), (0.0, 255.0)])
def test_input_grid_covers_its_range_and_holds_zero(bits: int, limits: tuple[float, float]) -> None:
    quantizer = InputQuantizer(bits, limits)
    assert quantizer(torch.zeros(1)).item() == 0
    step = float(quantizer.scale)
    inside = torch.linspace(min(0.0, limits[0]), max(0.0, limits[1]), 1001)
    assert (quantizer(inside) - inside).abs().max() <= step * 1.001
    assert len(distinct(codes(quantizer, torch.linspace(limits[0] - 9, limits[1] + 9, 99991)))) == 2**bits


@pytest.mark.parametrize("limits", [(1.0, 1.0), (1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_bad_input_ranges_are_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="input range"):
        InputQuantizer(8, limits)


def test_clip_learns_towards_the_data() -> None:
    quantizer = ActivationQuantizer(4, signed=False)
    quantizer.set_clip(8.0)
    x = torch.rand(4096, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (quantizer(x) - x).square().sum().backward()
        optimizer.step()
    assert 0.9 < float(quantizer.clip.detach()) < 1.2


@pytest.mark.parametrize("bits", BITS)
def test_weight_steps_beat_the_naive_ones(bits: int) -> None:
    weight = torch.randn(16, 200, generator=torch.Generator().manual_seed(1))
    quantizer = WeightQuantizer((bits,) * 16, weight)
    naive = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    rough = torch.clamp(torch.round(weight / naive), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * naive
    assert (quantizer(weight) - weight).square().sum() <= (rough - weight).square().sum()


def test_channels_of_different_widths_live_side_by_side() -> None:
    weight = torch.randn(3, 50, generator=torch.Generator().manual_seed(2))
    quantizer = WeightQuantizer(BITS, weight)
    found = quantizer.codes(weight)
    for channel, bits in enumerate(BITS):
        assert -(2 ** (bits - 1)) <= int(found[channel].min()) < int(found[channel].max()) <= 2 ** (bits - 1) - 1
    error = (quantizer(weight) - weight).square().sum(1)
    assert error[0] > error[1] > error[2]


def test_empty_channels_get_the_step_of_the_others() -> None:
    weight = torch.zeros(3, 4)
    assert choose_weight_step(weight, torch.full((3,), -8.0), torch.full((3,), 7.0)).tolist() == [1, 1, 1]
    weight[0] = 0.5
    step = choose_weight_step(weight, torch.full((3,), -8.0), torch.full((3,), 7.0))
    assert step[1] == step[2] == step[0]


def test_steps_can_be_raised_but_not_lowered() -> None:
    quantizer = WeightQuantizer((8, 8), torch.tensor([[1.0, -1.0], [2.0, -2.0]]))
    before = quantizer.scale.detach().clone()
    quantizer.raise_steps(torch.tensor([1.0, 0.0]))
    assert float(quantizer.scale[0].detach()) == pytest.approx(1.0)
    assert quantizer.scale[1] == before[1]


def test_clamps_in_codes() -> None:
    quantizer = ActivationQuantizer(8, signed=True)
    quantizer.set_clip(12.8)  # step 0.1
    assert clamp_codes(quantizer, -math.inf, math.inf) == (-128, 127)
    assert clamp_codes(quantizer, 0.0, 6.0) == (0, 60)
    assert clamp_codes(quantizer, -0.7, 1e9) == (-7, 127)
    assert clamp_codes(InputQuantizer(8, (-1.0, 1.0)), 0.0, math.inf) == (
        InputQuantizer(8, (-1.0, 1.0)).zero_point,
        127,
    )


def test_saturated_values_are_on_the_grid() -> None:
    quantizer = ActivationQuantizer(4, signed=True)
    quantizer.set_clip(1.0)
    result = quantizer(torch.linspace(-2, 2, 101), 0.0, 0.6)
    assert result.min() == 0
    assert float(result.detach().max()) == pytest.approx(5 * 0.125)


@pytest.mark.parametrize("bits", [0, 1, 3, 16])
def test_unknown_widths_are_refused(bits: int) -> None:
    with pytest.raises(UsageError, match="bit width"):
        ActivationQuantizer(bits, signed=False)
    with pytest.raises(UsageError, match="bit width"):
        InputQuantizer(bits, (0.0, 1.0))
    with pytest.raises(UsageError, match="bit width"):
        WeightQuantizer((8, bits or -1), torch.ones(2, 3))


def test_narrow_weights_leave_out_the_least_code() -> None:
    weight = torch.linspace(-1, 1, 21).repeat(2, 1)
    quantizer = WeightQuantizer((2, 8), weight, narrow=(2,))
    assert set(quantizer.codes(10 * weight)[0].tolist()) == {-1, 0, 1}
    assert int(quantizer.codes(10 * weight)[1].min()) == -128
    assert torch.equal(quantizer.codes(weight)[0], -quantizer.codes(-weight)[0])
    assert quantizer.low.tolist() == [-1, -128]


def test_channels_of_one_width_may_share_a_step() -> None:
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(3)) * torch.tensor([[1.0, 2, 3, 4, 5]]).T
    quantizer = WeightQuantizer((8, 4, 8, 0, 4), weight, shared=True)
    steps = quantizer.scale.tolist()
    assert len(quantizer.log_step) == 3
    alone = choose_weight_step(weight[[0, 2]].view(1, -1), torch.tensor([-128.0]), torch.tensor([127.0]))
    assert steps[0] == steps[2] == pytest.approx(float(alone))
    assert steps[1] == steps[4] > steps[0]
    assert not quantizer.codes(weight)[3].any()
    floor = torch.tensor([0.0, 0.0, 100.0, 0.0, 50.0])
    quantizer.raise_steps(floor)
    assert quantizer.scale.detach()[[0, 2, 1, 4]].tolist() == pytest.approx([100.0, 100.0, 50.0, 50.0])


def test_a_shared_step_is_trained_by_all_its_channels() -> None:
    weight = torch.randn(2, 9, generator=torch.Generator().manual_seed(4))
    gradients = []
    for shared in (False, True):
        quantizer = WeightQuantizer((4, 4), weight, shared=shared)
        with torch.no_grad():
            quantizer.log_step.fill_(-1.0)
        quantizer(weight).square().sum().backward()
        assert quantizer.log_step.grad is not None
        gradients.append(quantizer.log_step.grad)
    assert gradients[1].tolist() == pytest.approx([float(gradients[0].sum())])
