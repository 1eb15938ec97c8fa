# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plinio_deploy import host, interpreter
from plinio_deploy.errors import UsageError
from plinio_deploy.integerize import integerize
from plinio_deploy.quantization import LayerConfig, QuantConfig, QuantNetwork, quantize
from plinio_deploy.search.cost import params_bit
from plinio_deploy.search.methods.mps import MPS, MPSType, get_default_qinfo
from plinio_deploy.search.methods.mps.quantizers import MixedLayer


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8))
        self.plain = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = torch.relu(self.depthwise(x) + self.plain(x))
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


def model() -> nn.Module:
    torch.manual_seed(0)
    made = Small()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)  # a negative factor too
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return made.eval()


def images(count: int = 64) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def network(w_bits: int = 2, layers: dict[str, LayerConfig] | None = None) -> QuantNetwork:
    config = QuantConfig(w_bits=w_bits, layers=layers or {})
    return quantize(model(), images(1), config).calibrate([images()]).eval()


def test_norms_come_back_where_they_were_and_change_nothing_until_training() -> None:
    qnet = network(8)
    before = qnet(images())
    qnet.restore_norms(images())
    assert len(qnet.norms) == 2
    assert qnet.restore_norms(images()) is qnet  # a second time does nothing
    torch.testing.assert_close(
        qnet(images()), before, rtol=1e-4, atol=float(qnet.quantizer(qnet.outputs[0]).scale.detach())
    )
    for node in qnet.layer_of:
        old, new = network(8).layer(node), qnet.layer(node)
        assert torch.equal(old.weight_quantizer.codes(old.weight), new.weight_quantizer.codes(new.weight))


def test_training_uses_statistics_of_the_batch_and_learns() -> None:
    qnet = network().restore_norms(images()).train()
    norm = next(iter(qnet.norms.values()))
    mean = norm.get_buffer("mean").clone()
    optimizer = torch.optim.Adam(qnet.parameters(), lr=1e-2)
    target = torch.arange(64) % 5
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(qnet(images()), target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert not torch.equal(norm.get_buffer("mean"), mean)
    assert norm.get_parameter("gain").grad is not None


@pytest.mark.parametrize("w_bits", [8, 2])
def test_folding_again_keeps_what_eval_computes_and_integers_follow(w_bits: int) -> None:
    qnet = network(w_bits).restore_norms(images())
    qnet.train()
    with torch.no_grad():
        for norm in qnet.norms.values():
            norm.get_parameter("gain").mul_(-0.7)  # factors stay positive
        for _ in range(3):
            qnet(images() * 0.8)
    qnet.eval()
    folded = copy.deepcopy(qnet).fold_norms()
    assert not folded.norms
    step = float(qnet.quantizer(qnet.outputs[0]).scale.detach())
    torch.testing.assert_close(folded(images()), qnet(images()), rtol=0, atol=1.01 * step)
    whole = integerize(qnet)
    (source,), (target,) = whole.input_tensors(), whole.output_tensors()
    codes = host.quantize(source, host.nchw_to_nhwc(images().numpy(), source.shape))
    found = host.dequantize(target, interpreter.run(whole, [codes])[target.name])
    assert np.abs(found - qnet(images()).detach().numpy()).max() <= 1.01 * step
    assert np.array_equal(
        interpreter.run(whole, [codes])[target.name], interpreter.run(integerize(folded), [codes])[target.name]
    )


def test_channels_of_0_bits_stay_0_under_a_norm() -> None:
    widths = (0, 2, 2, 4, 4, 8, 8, 8)
    layers = {name: LayerConfig(widths) for name in ("first.0", "depthwise.0", "plain")}
    qnet = network(8, layers).restore_norms(images()).train()
    values = qnet.trace(images())
    name = next(node.name for node in qnet.nodes if node.path == "first.0")
    assert not values[name][:, 0].any()
    assert values[name][:, 1].any()


def searched(*w_bits: int) -> MPS:
    torch.manual_seed(0)
    return MPS(
        model(),
        cost={"size": params_bit},
        input_example=images(1),
        w_search_type=MPSType.PER_CHANNEL,
        qinfo=get_default_qinfo(w_bits, (8,)),
        calibration=[images()],
    )


def test_a_search_with_norms_trains_its_masks_and_hands_the_norms_on() -> None:
    nas = searched(0, 2, 4, 8)
    before = nas.eval()(images())
    nas.restore_norms(images())
    torch.testing.assert_close(
        nas(images()), before, rtol=1e-4, atol=float(nas.network.quantizer(nas.network.outputs[0]).scale.detach())
    )
    nas.train()
    torch.autograd.backward(
        nn.functional.cross_entropy(nas(images()), torch.arange(64) % 5) + 1e-5 * nas.get_cost("size")
    )
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in nas.nas_parameters())
    qnet = nas.eval().export()
    assert len(qnet.norms) == 2
    torch.testing.assert_close(qnet(images()), nas(images()))
    assert integerize(qnet).ops


def test_a_search_folds_its_norms_for_all_precisions() -> None:
    nas = searched(2, 4, 8)
    nas.restore_norms(images())
    nas.train()(images())
    nas.eval()
    step = float(nas.network.quantizer(nas.network.outputs[0]).scale.detach())
    for precision in range(3):
        for choice in nas.network.choices():
            with torch.no_grad():
                choice.alpha[precision] += 10
        before = nas(images())
        folded = copy.deepcopy(nas)
        folded.fold_norms()
        assert not folded.network.norms
        torch.testing.assert_close(folded(images()), before, rtol=0, atol=1.01 * step)


class Twice(nn.Module):
    """A convolution over time that is called twice with its norm, and a linear layer with one; two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2)
        self.linear, self.last = nn.Linear(16, 5), nn.BatchNorm1d(5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        y = torch.relu(self.norm(self.conv(y)))
        result: Tensor = self.last(self.linear((x + y).flatten(1)))
        return result


def twice() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    made = Twice()
    for norm in (made.norm, made.last):
        nn.init.uniform_(norm.weight, -1.5, -0.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return made.eval(), (torch.rand(32, 2, 8), torch.rand(32, 2, 8))


def test_layers_over_time_shared_ones_and_linear_ones_have_norms_too() -> None:
    made, inputs = twice()
    qnet = quantize(made, tuple(x[:1] for x in inputs)).calibrate([(inputs, None)]).eval()
    before = qnet(*inputs)
    step = float(qnet.quantizer(qnet.outputs[0]).scale.detach())
    qnet.restore_norms((inputs, None))
    assert len(qnet.norms) == 2
    torch.testing.assert_close(qnet(*inputs), before, rtol=0, atol=1.01 * step)
    assert torch.isfinite(qnet.train()(*inputs)).all()
    after = qnet.eval()(*inputs)
    torch.testing.assert_close(qnet.without_norms()(*inputs), after, rtol=0, atol=1.01 * step)
    assert len(qnet.norms) == 2
    fresh = quantize(made, tuple(x[:1] for x in inputs)).calibrate([(inputs, None)]).eval().restore_norms((inputs,))
    fresh.load_state_dict(qnet.state_dict())
    assert torch.equal(fresh(*inputs), after)


def test_norms_want_a_calibrated_network_and_all_inputs_and_are_not_made_up() -> None:
    made, inputs = twice()
    qnet = quantize(made, tuple(x[:1] for x in inputs))
    with pytest.raises(UsageError, match="not calibrated"):
        qnet.restore_norms((inputs, None))
    with pytest.raises(UsageError, match="number of inputs"):
        qnet.calibrate([(inputs, None)]).restore_norms(inputs[0])
    plain = quantize(nn.Conv2d(3, 2, 1), images(1)).calibrate([images()]).restore_norms(images())
    assert not plain.norms
    assert plain.without_norms() is plain


def test_channels_that_are_pruned_when_norms_come_back_keep_their_gain() -> None:
    nas, other = searched(0, 2, 4, 8), searched(0, 2, 4, 8)
    for choice in nas.network.choices():
        with torch.no_grad():
            choice.alpha[0, ::2] += 10
    for search in (nas, other):
        search.restore_norms(images())
    assert 0 in nas.summary()["first.0"]["w_precision"]
    key = next(key for key, norm in nas.network.norms.items() if len(norm.get_parameter("gain")) == 8)
    first, second = (search.network.norms[key].get_parameter("gain") for search in (nas, other))
    torch.testing.assert_close(first, second)


def test_steps_of_pruned_channels_decide_nothing_under_a_norm() -> None:
    layers = {name: LayerConfig((0, 2, 2, 4, 4, 8, 8, 8)) for name in ("first.0", "depthwise.0", "plain")}
    layer = network(8, layers).restore_norms(images()).layer("first_0")
    factor = torch.full((8,), 2.0)
    factor[0] = 1e6
    steps = layer.steps(factor).detach()
    torch.testing.assert_close(steps[1:], 2 * layer.weight_quantizer.scale.detach()[1:])
    assert steps[0] == steps[1:].min()


def test_a_search_of_two_inputs_takes_batches_of_both() -> None:
    made, inputs = twice()
    nas = MPS(made, {"size": params_bit}, tuple(x[:1] for x in inputs), calibration=[inputs]).eval()
    before = nas(*inputs)
    nas.correct_biases(inputs)
    assert not torch.equal(nas(*inputs), before)
    nas.restore_norms((inputs, None))
    assert len(nas.network.norms) == 2
    nas.rank_precisions(nn.functional.cross_entropy, [(inputs, torch.arange(32) % 5)])
    for layer in nas.network.layers.values():
        assert isinstance(layer, MixedLayer)
        assert layer.choice.alpha[0] < layer.choice.alpha[2] < 0


def test_layers_whose_channels_share_a_step_keep_their_norms_folded() -> None:
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = torch.rand(32, 6)
    for scales, norms in (("channel", 1), ("tensor", 0)):
        qnet = quantize(plain, x[:1], QuantConfig(linear_scales=scales)).calibrate([x]).eval()  # type: ignore[arg-type]
        before = qnet(x)
        qnet.restore_norms(x)
        assert len(qnet.norms) == norms
        assert torch.allclose(qnet(x), before, atol=2e-2)


def drift(parameters: object, run: nn.Module) -> None:
    """Train with a large learning rate: weights move far from what they would be in float."""
    optimizer = torch.optim.Adam(parameters, lr=3e-2)  # type: ignore[arg-type]
    run.train()
    for _ in range(15):
        loss = nn.functional.cross_entropy(run(images()), torch.arange(64) % 5)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def test_correcting_a_network_trained_with_norms_renews_their_statistics() -> None:
    qnet = network().restore_norms(images())
    drift(qnet.parameters(), qnet)
    with torch.no_grad():
        trained = copy.deepcopy(qnet)(images())
        stale = (qnet.eval()(images()) - trained).abs().max()
        offsets = [norm.get_parameter("offset").clone() for norm in qnet.norms.values()]
        found = qnet.correct_biases(images())(images())
    step = float(qnet.quantizer(qnet.outputs[0]).scale.detach())
    assert float((found - trained).abs().max()) <= 2 * step < float(stale)
    for norm, offset in zip(qnet.norms.values(), offsets, strict=True):
        assert torch.equal(norm.get_parameter("offset"), offset)


@pytest.mark.parametrize("kind", [MPSType.PER_LAYER, MPSType.PER_CHANNEL])
def test_precisions_chosen_after_a_search_get_statistics_of_their_own(kind: MPSType) -> None:
    mps = MPS(
        model(),
        cost=params_bit,
        input_example=images(1),
        w_search_type=kind,
        qinfo=get_default_qinfo((2, 4, 8), (8,)),
        hard_softmax=True,
        calibration=[images()],
    )
    mps.restore_norms(images())
    drift(mps.net_parameters(), mps)
    mps.settle("60 %")
    mps.train()
    with torch.no_grad():
        trained = copy.deepcopy(mps)(images())
        mps.correct_biases(images())
        exported = mps.eval().export().eval()
        found = exported(images())
    step = float(exported.quantizer(exported.outputs[0]).scale.detach())
    assert float((found - trained).abs().max()) <= 2 * step
