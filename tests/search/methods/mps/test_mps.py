# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel, UsageError
from plinio_deploy.integerize import integerize
from plinio_deploy.network import Conv, Linear
from plinio_deploy.quantization import QuantConfig, quantize
from plinio_deploy.quantization.quantizers import ActivationQuantizer
from plinio_deploy.search import cost
from plinio_deploy.search.methods.mps import MPS, get_default_qinfo
from plinio_deploy.search.methods.supernet import SuperNetModule
from tests.search.methods.mps.toys import PRUNED, Pair, Residual, layer, put, search, shuffle

CASES: list[dict[str, Any]] = [
    {},
    {"per_channel": True},
    {"per_channel": True, "qinfo": PRUNED},
    {"per_channel": True, "qinfo": get_default_qinfo((0, 4), (2, 8), (2, 4))},
]


@pytest.fixture
def x() -> Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def model() -> Residual:
    torch.manual_seed(3)
    found = Residual()
    nn.init.uniform_(found.norm.weight, 0.5, 1.5)
    nn.init.uniform_(found.norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_eval_is_the_exported_network_bit_for_bit(case: dict[str, Any], seed: int, x: Tensor) -> None:
    mps = shuffle(search(model(), **case), seed).eval()
    exported = mps.export()
    assert not exported.training
    with torch.no_grad():
        assert torch.equal(mps(x), exported(x))
    integerize(exported)


def test_biases_are_corrected_for_what_is_exported(x: Tensor) -> None:
    mps = shuffle(search(model(), per_channel=True, qinfo=PRUNED), 4)
    before, many = mps.export(), torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mps.correct_biases((many, None))
    assert mps.training
    after = mps.eval().export()
    with torch.no_grad():
        assert torch.equal(mps(x), after(x))
        before.mode = "float"
        exact = before(many)
        before.mode = "quantized"
        for found in (before, after):  # what was calibrated had no pruned channels: its outputs were smaller
            quantizer = found.quantizer(found.outputs[0])
            assert isinstance(quantizer, ActivationQuantizer)
            quantizer.set_clip(2 * float(exact.abs().max()))
        far, near = ((found(many) - exact).mean(0).abs().max() for found in (before, after))
    assert float(near) < 0.5 * float(far)


@pytest.mark.parametrize("case", CASES)
def test_all_parameters_get_gradients(case: dict[str, Any], x: Tensor) -> None:
    mps = search(model(), **case)
    (mps(x).square().sum() + 1e-3 * mps.cost).backward()
    for name, parameter in mps.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    nas, net = dict(mps.named_nas_parameters()), dict(mps.named_net_parameters())
    assert all(name.endswith("alpha") for name in nas)
    assert any("log_clip" in name for name in net)
    assert len(nas) + len(net) == len(dict(mps.named_parameters()))


def test_one_precision_everywhere_is_plain_training(x: Tensor) -> None:
    mps = search(model(), qinfo=get_default_qinfo((4,), (8,)))
    calibration = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    qat = quantize(model(), x[:1], QuantConfig(w_bits=4)).calibrate([calibration]).train()
    assert torch.equal(mps(x), qat(x))
    mps(x).square().sum().backward()
    qat(x).square().sum().backward()
    for own, other in zip(mps.parameters(), qat.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.equal(own.grad, other.grad)
    assert list(mps.nas_parameters()) == []


def test_a_decided_mixture_is_the_precision_it_is_decided_for(x: Tensor) -> None:
    mps = shuffle(search(model(), per_channel=True, qinfo=PRUNED), 5)
    mps.update_softmax_options(hard=True)
    with torch.no_grad():
        assert torch.equal(mps(x), mps.export()(x))
    loss = mps(x).square().sum()
    loss.backward()
    assert all(alpha.grad is not None for alpha in mps.nas_parameters())


def test_the_model_stays_as_it_is(x: Tensor) -> None:
    own = model().train()
    before, flags = copy.deepcopy(own.state_dict()), [part.training for part in own.modules()]
    mps = MPS(own, input_example=x, calibration=[x])
    mps(x).sum().backward()
    torch.optim.SGD(mps.parameters(), lr=0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert [part.training for part in own.modules()] == flags
    assert mps.training


@pytest.mark.parametrize("case", CASES)
def test_copies_and_saved_states_are_the_same_search(case: dict[str, Any], x: Tensor) -> None:
    mps = shuffle(search(model(), **case), 2).eval()
    with torch.no_grad():
        expected, size = mps(x), mps.cost
        fresh = search(model(), **case).eval()
        fresh.load_state_dict(mps.state_dict())
        torch.save(mps, buffer := io.BytesIO())
        buffer.seek(0)
        for other in (copy.deepcopy(mps), torch.load(buffer, weights_only=False), fresh):
            assert torch.equal(other(x), expected)
            assert other.cost == size


def test_it_calibrates_itself_on_its_first_batch(x: Tensor) -> None:
    mps = MPS(model(), input_example=x)
    mps(x)
    other = MPS(model(), input_example=x, calibration=[(x, torch.zeros(5))])
    assert torch.equal(mps.eval()(x), other.eval()(x))


def test_inputs_out_of_range_are_refused(x: Tensor) -> None:
    mps = MPS(model(), input_example=x)
    with pytest.raises(UsageError, match="out of its range"):
        mps(x * 2 - 1)
    MPS(model(), input_example=x, input_range=(-1, 1))(x * 2 - 1)


def test_eight_bits_cost_little_right_after_conversion(x: Tensor) -> None:
    own = model().eval()
    mps = search(own, qinfo=get_default_qinfo((8,), (8,))).eval()
    with torch.no_grad():
        exact, found = own(x), mps(x)
    assert float((found - exact).abs().max()) < 0.06 * float(exact.abs().max())


def test_options_change_only_what_is_given() -> None:
    mps = search(Pair(), temperature=3.0, gumbel_softmax=True)
    mps.update_softmax_options(hard=True)
    for choice in mps.network.choices():
        assert (float(choice.temperature), choice.gumbel_softmax, choice.hard_softmax) == (3.0, True, True)
    mps.update_softmax_options(temperature=0.5, gumbel=False)
    for choice in mps.network.choices():
        assert (float(choice.temperature), choice.gumbel_softmax, choice.hard_softmax) == (0.5, False, True)
    with pytest.raises(UsageError, match="positive"):
        mps.update_softmax_options(temperature=0.0)


def test_overrides_go_by_module_path() -> None:
    qinfo = get_default_qinfo()
    qinfo["inner"] = {"weight": {"search_precision": (4,)}, "output": {"search_precision": (2,)}}
    found = search(model(), qinfo=qinfo).summary()
    assert found["inner"] == {"in_precision": 8, "out_precision": 2, "w_precision": 4}
    assert found["first"]["w_precision"] == 8
    with pytest.raises(UsageError, match="Did you mean 'inner'") as caught:
        search(model(), qinfo={**qinfo, "iner": {}})
    assert caught.value.where == "qinfo"


@pytest.mark.parametrize("bits", [(2, 2, 8), (3,), (), (0,)])
def test_bad_precisions_are_refused(bits: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="search_precision"):
        search(Pair(), per_channel=True, qinfo=get_default_qinfo(bits))
    with pytest.raises(UsageError, match="search_precision"):
        search(Pair(), qinfo=get_default_qinfo((8,), (0, 8)))


def test_pruning_needs_a_choice_per_channel() -> None:
    with pytest.raises(UsageError, match="PER_CHANNEL"):
        search(Pair(), qinfo=PRUNED)


def test_excluded_layers_keep_eight_bits() -> None:
    mps = search(model(), exclude_names=("inner",), exclude_types=(nn.Linear,))
    shuffle(mps, 0)
    assert not {"inner", "fc"} & set(mps.summary())
    config = mps.export().config.layers
    assert config["inner"].w_bits == (8,) * 6
    assert config["fc"].w_bits == (8,) * 4
    whole = search(model(), exclude_names=("inner",), full_cost=True)
    part = search(model(), exclude_names=("inner",))
    assert float((whole.cost - part.cost).detach()) == pytest.approx(6 * 6 * 9 * 8)


def test_alternatives_are_refused_by_name() -> None:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = SuperNetModule([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)])

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.place(x)
            return result

    with pytest.raises(UnsupportedModel, match="SuperNetModule") as caught:
        MPS(Chosen(), input_shape=(3, 8, 8))
    assert caught.value.where == "place"


@pytest.mark.parametrize("seed", range(4))
def test_cost_in_eval_is_that_of_the_integer_network(seed: int) -> None:
    costs = {"bits": cost.params_bit, "flash": cost.flash}
    mps = shuffle(search(model(), per_channel=True, qinfo=PRUNED, cost=costs), seed).eval()
    network = integerize(mps.export())
    bits = size = 0
    for op in network.ops:
        if isinstance(op, Conv | Linear):
            per_channel = op.weights.codes[0].size
            bits += sum(per_channel * width for width in op.weights.bits)
            size += sum(-(-per_channel * width // 8) + 8 for width in op.weights.bits)
    assert float(mps.get_cost("bits").detach()) == bits
    assert float(mps.get_cost("flash").detach()) == size


def test_every_cost_takes_mixed_precision() -> None:
    costs = {name: getattr(cost, name) for name in ("params", "ops", "params_bit", "ops_bit", "mpic_latency")}
    costs |= {name: getattr(cost, name) for name in ("mpic_energy", "ne16_latency", "peak_ram", "flash")}
    mps = search(model(), per_channel=True, qinfo=PRUNED, cost=costs)
    for name in costs:
        value = mps.get_cost(name)
        assert float(value.detach()) > 0
        grads = torch.autograd.grad(value, list(mps.nas_parameters()), allow_unused=True, materialize_grads=True)
        assert any(bool((grad != 0).any()) for grad in grads), name


def test_a_mixture_is_priced_precision_by_precision() -> None:
    mps = search(Pair(), qinfo=get_default_qinfo((2, 8), (2, 8)), cost=cost.mpic_latency)
    choice = layer(mps, "a").choice
    put(choice, [0.3, -0.4])
    theta = torch.softmax(torch.tensor([0.3, -0.4]), 0)
    activation = torch.softmax(torch.tensor([0.25, 1.0]), 0)
    weights = torch.softmax(torch.tensor([0.25, 1.0]), 0)
    count = 4 * 8 * 9 * 64
    first = float(theta @ torch.tensor([1 / 2.5, 1 / 2.1])) * count
    table = torch.tensor([[1 / 6.5, 1 / 2.2], [1 / 2.5, 1 / 2.1]])
    second = float(activation @ table @ weights) * count
    assert float(mps.cost.detach()) == pytest.approx(first + second, rel=1e-5)


def test_channels_prune_jointly_and_are_counted_once() -> None:
    mps = search(Pair(), per_channel=True, qinfo=get_default_qinfo((0, 8), (8,)), cost=cost.params_bit).eval()
    choice = layer(mps, "a").choice
    put(choice, [[9.0] * 4 + [-9.0] * 4, [0.0] * 8])
    # PLiNIO says 576 for each: it multiplies 4 living channels with the mean theta of one half once more.
    assert float(mps.cost.detach()) == 1152 + 1152
    assert mps.summary()["a"]["w_precision"] == (0,) * 4 + (8,) * 4


def test_widths_fall_under_a_cost_alone() -> None:
    mps = search(Pair(), cost=cost.params_bit)
    optimizer = torch.optim.Adam(mps.nas_parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(mps.cost / 1000)
        optimizer.step()
    assert {mps.summary()[path]["w_precision"] for path in "ab"} == {2}


def test_half_precision_training_runs(x: Tensor) -> None:
    mps = search(model(), per_channel=True, qinfo=PRUNED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = mps(x).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in mps.parameters())
