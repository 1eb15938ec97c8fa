# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization import LayerConfig, QuantConfig, QuantNetwork, quantize
from plinio_deploy.quantization.graph import PostProcess
from plinio_deploy.quantization.network import apply_postprocess
from tests.random_models import quantized, random_case

SEEDS = range(12)


@pytest.fixture(scope="module", params=SEEDS)
def network(request: pytest.FixtureRequest) -> tuple[QuantNetwork, nn.Module, Tensor]:
    case = random_case(request.param)
    return quantized(case), case.model, case.x


def test_without_quantizers_it_is_the_model(network: tuple[QuantNetwork, nn.Module, Tensor]) -> None:
    qnet, model, x = copy.deepcopy(network[0]), network[1], network[2]
    qnet.mode = "float"
    with torch.no_grad():
        torch.testing.assert_close(qnet(x), model(x.clone()), atol=1e-4, rtol=1e-4)


def test_everything_is_on_its_grid(network: tuple[QuantNetwork, nn.Module, Tensor]) -> None:
    qnet, _, x = network
    with torch.no_grad():
        values = qnet.trace(x)
    for node in qnet.nodes:
        quantizer = qnet.quantizer(node.name)
        codes = values[node.name] / quantizer.scale + quantizer.zero_point
        assert (codes - codes.round()).abs().max() < 1e-3, node.name
        assert codes.min() > float(quantizer.low) - 0.5, node.name
        assert codes.max() < float(quantizer.high) + 0.5, node.name


def test_all_parameters_get_gradients(network: tuple[QuantNetwork, nn.Module, Tensor]) -> None:
    qnet, x = copy.deepcopy(network[0]), network[2]
    qnet(x).square().sum().backward()
    read = {qnet.quantizer_of[name] for node in qnet.nodes for name in (node.name, *node.inputs)}
    for name, parameter in qnet.named_parameters():
        if name.startswith("quantizers.") and name.split(".")[1] not in read:
            continue
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_a_copy_and_a_saved_state_are_the_same_network(
    network: tuple[QuantNetwork, nn.Module, Tensor], tmp_path: Path
) -> None:
    qnet, model, x = network
    with torch.no_grad():
        expected = qnet(x)
        assert torch.equal(copy.deepcopy(qnet)(x), expected)
        torch.save(qnet, tmp_path / "whole.pt")
        assert torch.equal(torch.load(tmp_path / "whole.pt", weights_only=False)(x), expected)
        save_file({name: t.clone() for name, t in qnet.state_dict().items()}, tmp_path / "state.safetensors")
        fresh = quantize(model, x[:1], qnet.config)
        fresh.load_state_dict(load_file(tmp_path / "state.safetensors"))
        assert torch.equal(fresh.eval()(x), expected)


def test_it_must_be_calibrated_first() -> None:
    qnet = quantize(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(UsageError, match="not calibrated"):
        qnet(torch.zeros(1, 3))
    with pytest.raises(UsageError, match="nothing to calibrate"):
        qnet.calibrate([])
    qnet.calibrate([(torch.rand(4, 3), torch.zeros(4))])
    assert qnet(torch.zeros(1, 3)).shape == (1, 2)


def test_calibration_takes_batches_until_told_to_stop() -> None:
    def endless() -> Iterator[Tensor]:
        while True:
            yield torch.rand(2, 3)

    qnet = quantize(nn.Linear(3, 2), torch.zeros(1, 3))
    qnet.train()
    qnet.calibrate(endless(), max_batches=2)
    assert qnet.training
    assert qnet.mode == "quantized"


def test_several_inputs() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    config = QuantConfig(input_range=((0.0, 1.0), (-1.0, 1.0)))
    qnet = quantize(Sum(), (torch.zeros(1, 3), torch.zeros(1, 3)), config)
    x, y = torch.rand(5, 3), torch.rand(5, 3) * 2 - 1
    qnet.calibrate([((x, y), None)])
    with torch.no_grad():
        torch.testing.assert_close(qnet(x, y), x + y, atol=0.03, rtol=0)
    with pytest.raises(UsageError, match="number of inputs"):
        qnet(x)


def test_layer_names_that_modules_use_themselves() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("keys", nn.Conv2d(1, 1, 1))
            self.pop = nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.pop(self.get_submodule("keys")(x))
            return result

    qnet = quantize(Odd(), torch.zeros(1, 1, 2, 2)).calibrate([torch.rand(2, 1, 2, 2)])
    assert qnet(torch.rand(1, 1, 2, 2)).shape == (1, 1, 2, 2)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    x = torch.rand(64, 1, 4, 4)
    y = (x.mean((1, 2, 3)) > 0.5).long()
    qnet = quantize(model, x[:1], QuantConfig(w_bits=2, a_bits=2)).calibrate([x])
    optimizer = torch.optim.Adam(qnet.parameters(), lr=1e-2)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(qnet(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("post", "expected"),
    [
        (PostProcess(0, "softmax", 1), lambda x: x.softmax(1)),
        (PostProcess(0, "log_softmax", 1), lambda x: x.log_softmax(1)),
        (PostProcess(0, "sigmoid", None), torch.sigmoid),
        (PostProcess(0, "argmax", 1, True), lambda x: x.argmax(1, keepdim=True)),
    ],
)
def test_postprocessing(post: PostProcess, expected: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(3, 4)
    assert torch.equal(apply_postprocess(post, x), expected(x))


def test_weights_of_tiny_channels_leave_room_for_their_bias() -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[0] = 1e-12
        layer.bias[0] = 1.0
    qnet = quantize(layer, torch.zeros(1, 3)).calibrate([torch.rand(8, 3)])
    unit = qnet.quantizer("input").scale * qnet.layer(qnet.nodes[1].name).weight_quantizer.scale[0].detach()
    assert float(1.0 / unit) <= 2**24 * 1.001
    with torch.no_grad():
        torch.testing.assert_close(qnet(torch.rand(4, 3))[:, 0], torch.ones(4), atol=0.02, rtol=0)


def test_pruned_channels_are_0_in_every_mode_and_named_when_they_disagree() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 1, groups=3), nn.Conv2d(3, 2, 1))
    x = torch.rand(4, 1, 5, 5)
    layers = {"0": LayerConfig(w_bits=(8, 0, 2)), "2": LayerConfig(w_bits=(2, 0, 4))}
    network = quantize(model, x, QuantConfig(layers=layers)).calibrate([x])
    for mode in ("quantized", "float"):
        network.mode = mode
        values = network.trace(x)
        for name in ("layer_0", "layer_2"):
            assert values[name][:, 1].abs().max() == 0
            assert values[name].abs().max() > 0
    with pytest.raises(UsageError, match="tied") as caught:
        quantize(model, x, QuantConfig(layers={"0": LayerConfig(w_bits=(8, 0, 2))}))
    assert caught.value.where == "2"
    with pytest.raises(UsageError, match="cannot be removed"):
        quantize(model, x, QuantConfig(layers={"3": LayerConfig(w_bits=(8, 0))}))
    with pytest.raises(UsageError, match="unknown bit width"):
        quantize(model, x, QuantConfig(w_bits=0))
