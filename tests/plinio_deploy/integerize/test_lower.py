# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from plinio_deploy import host, interpreter
from plinio_deploy.codegen.pack import unit_of
from plinio_deploy.errors import UnsupportedModel, UsageError
from plinio_deploy.integerize import ExactNetwork, integerize, lower
from plinio_deploy.integerize.compare import compaction_differences, layer_differences
from plinio_deploy.network import Add, AvgPool, Concat, Conv, Linear, Network, Requantize, Reshape
from plinio_deploy.printer import to_text
from plinio_deploy.quantization import LayerConfig, QuantConfig, quantize
from tests.plinio_deploy.quantization.test_capture import Lambda
from tests.random_models import Case, mixed_case, quantized, random_case

SEEDS = range(30)


def lowered(function: Any, shape: tuple[int, ...], config: QuantConfig | None = None, **layers: nn.Module) -> Network:
    torch.manual_seed(0)
    model = Lambda(function, **layers)
    qnet = quantize(model, torch.zeros(1, *shape), config).calibrate([torch.rand(16, *shape)])
    return integerize(qnet, "test")


def codes_of(network: Network, x: Tensor) -> npt.NDArray[np.int32]:
    tensor = network.input_tensors()[0]
    return host.quantize(tensor, host.nchw_to_nhwc(x.numpy(), tensor.shape))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_models(seed: int) -> None:
    check(random_case(seed))


@pytest.mark.parametrize("seed", range(20))
def test_models_of_mixed_widths_with_pruned_channels(seed: int) -> None:
    check(mixed_case(seed))


def check(case: Case) -> None:
    """Fake-quantized and integer network: at most one code apart per layer.

    Torch executor and interpreter are equal, and so is the network with all channels in the model's order.
    """
    qnet = quantized(case)
    made = lower(qnet, "random")
    network = made.network
    assert max(layer_differences(qnet, made, case.x).values()) <= 1
    assert not any(compaction_differences(qnet, made, case.x).values())
    codes = codes_of(network, case.x)
    reference = interpreter.run(network, [codes])
    for name, tensor in ExactNetwork(network).trace(torch.from_numpy(codes)).items():
        assert np.array_equal(tensor.numpy(), reference[name]), name


def test_lowering_changes_nothing_and_is_repeatable() -> None:
    qnet = quantized(random_case(3))
    qnet.train()
    before = {name: tensor.clone() for name, tensor in qnet.state_dict().items()}
    first, second = integerize(qnet, "a"), integerize(qnet, "a")
    assert to_text(first) == to_text(second)
    assert qnet.training
    assert all(torch.equal(before[name], tensor) for name, tensor in qnet.state_dict().items())


def test_names_follow_module_paths() -> None:
    network = lowered(
        lambda s, x: s.head(s.body(x).flatten(1)),
        (1, 4, 4),
        body=nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()),
        head=nn.Linear(8, 3),
    )
    assert [op.name for op in network.ops] == ["body_0", "body_0_flat", "head"]
    assert network.inputs == ("input",)
    assert network.outputs == ("head",)


def test_linear_columns_follow_the_flattened_map() -> None:
    network = lowered(lambda s, x: s.linear(x.flatten(1)), (2, 3, 4), linear=nn.Linear(24, 5))
    linear = next(op for op in network.ops if isinstance(op, Linear))
    torch.manual_seed(0)
    layer = quantize(Lambda(lambda s, x: s.linear(x.flatten(1)), linear=nn.Linear(24, 5)), torch.zeros(1, 2, 3, 4))
    assert linear.weights.codes.shape == (5, 24)
    assert len(layer.layers) == 1


def test_reshapes_appear_only_where_a_shape_changes() -> None:
    network = lowered(
        lambda s, x: s.b(s.a(x.flatten(1)).unsqueeze(1).squeeze(1)), (3,), a=nn.Linear(3, 4), b=nn.Linear(4, 2)
    )
    assert [type(op) for op in network.ops] == [Linear, Linear]


def test_two_readers_share_one_reshape() -> None:
    network = lowered(
        lambda s, x: s.a(x.flatten(1)) + s.b(x.flatten(1)), (2, 2, 2), a=nn.Linear(8, 2), b=nn.Linear(8, 2)
    )
    assert [type(op) for op in network.ops] == [Reshape, Linear, Linear, Add]


def test_linear_on_features_last_is_a_convolution() -> None:
    network = lowered(lambda s, x: s.a(x.movedim(1, 3)).movedim(3, 1), (3, 4, 5), a=nn.Linear(3, 2))
    (op,) = network.ops
    assert isinstance(op, Conv)
    assert op.weights.codes.shape == (2, 1, 1, 3)


def test_the_input_of_a_concat_is_requantized() -> None:
    network = lowered(lambda s, x: torch.cat([x, s.a(x)], 1), (2, 4, 4), a=nn.Conv2d(2, 2, 1))
    assert [type(op) for op in network.ops] == [Conv, Requantize, Concat]


def test_means_are_pools_with_their_window() -> None:
    network = lowered(lambda s, x: s.a(x.mean((2, 3))), (2, 4, 5), a=nn.Linear(2, 2))
    pool = network.ops[0]
    assert isinstance(pool, AvgPool)
    assert pool.kernel == (4, 5)


def test_widths_reach_the_network() -> None:
    config = QuantConfig(a_bits=4, layers={"a": LayerConfig(w_bits=(2, 4, 8), a_bits=2)}, input_bits=4)
    network = lowered(lambda s, x: s.b(s.a(x)), (1, 3, 3), config, a=nn.Conv2d(1, 3, 1), b=nn.Conv2d(3, 1, 1))
    assert [network.tensors[name].bits for name in ("input", "a", "b")] == [4, 2, 8]
    conv = network.ops[0]
    assert isinstance(conv, Conv)
    assert conv.weights.bits == (8, 4, 2)


def test_inputs_with_a_zero_point_are_corrected_for() -> None:
    """Also at the border: padding stands for the real 0, which is the zero point."""
    config = QuantConfig(input_range=(-0.5, 1.0))
    qnet = quantize(nn.Conv2d(2, 3, 3, padding=1), torch.zeros(1, 2, 5, 5), config)
    x = torch.rand(20, 2, 5, 5) * 1.5 - 0.5
    qnet.calibrate([x])
    made = lower(qnet)
    assert made.network.input_tensors()[0].zero_point not in (0, -128)
    assert max(layer_differences(qnet, made, x).values()) == 0


def test_a_model_that_returns_its_input_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="inputs, or is returned twice"):
        lowered(lambda s, x: (x, s.a(x)), (1, 3, 3), a=nn.Conv2d(1, 1, 1))
    with pytest.raises(UnsupportedModel, match="returned twice"):
        lowered(lambda s, x: [s.a(x)] * 2, (1, 3, 3), a=nn.Conv2d(1, 1, 1))


def test_outputs_that_reshape_apart_are_two() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        y = self.a(x)
        return y, y.flatten(1)

    network = lowered(forward, (3, 1, 1), a=nn.Conv2d(3, 2, 1))
    assert [network.tensors[name].shape for name in network.outputs] == [(1, 1, 2), (2,)]


def test_uncalibrated_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="not calibrated"):
        integerize(quantize(nn.Linear(2, 2), torch.zeros(1, 2)))


def test_a_bias_beyond_int32_names_its_layer() -> None:
    qnet = quantize(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2)).calibrate([torch.rand(8, 2)])
    with torch.no_grad():
        qnet.layer("layer_0").bias.fill_(1e9)
    with pytest.raises(UnsupportedModel, match="do not fit 32 bits") as caught:
        integerize(qnet)
    assert caught.value.where is not None
    assert caught.value.where.startswith("0")


def test_channels_without_weights_still_have_their_bias() -> None:
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight[1] = 0
        layer.bias.copy_(torch.tensor([0.0, 0.7, 0.1]))
    qnet = quantize(layer, torch.zeros(1, 3))
    x = torch.rand(50, 3)
    network = integerize(qnet.calibrate([x]))
    out = network.output_tensors()[0]
    found = host.dequantize(out, interpreter.run(network, [codes_of(network, x)])[out.name])
    assert np.abs(found[:, 1] - 0.7).max() <= out.scale


@pytest.mark.parametrize(("low", "a_bits"), [(0.0, 8), (-1.0, 8), (-0.3, 8), (-1.0, 4)])
def test_a_linear_layer_with_one_step_has_one_multiplier_and_short_biases(low: float, a_bits: int) -> None:
    torch.manual_seed(5)
    first, norm = nn.Linear(24, 32), nn.BatchNorm1d(32)
    model = nn.Sequential(first, norm, nn.ReLU(), nn.Linear(32, 6)).eval()
    with torch.no_grad():
        first.bias.mul_(40)
        norm.weight.uniform_(0.2, 2.0)
    x = torch.rand(64, 24) * (1 - low) + low
    config = QuantConfig(a_bits=a_bits, input_bits=a_bits, input_range=(low, 1.0), linear_scales="tensor")
    made = lower(quantize(model, x[:1], config).calibrate([x]), "test")
    for op in made.network.ops:
        assert isinstance(op, Linear)
        assert len(set(op.requant.multiplier.tolist())) == 1
        source, total = made.network.tensors[op.input], op.weights.codes.astype(int).sum(axis=1)
        assert unit_of(op.bias.tolist()) is not None
        assert unit_of((op.bias + source.qmin * total).tolist()) is not None
    qnet = quantize(model, x[:1], config).calibrate([x])
    assert max(layer_differences(qnet, made, x).values()) <= 1


def test_steps_per_tensor_leave_convolutions_and_widths_apart() -> None:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)).eval()
    config = QuantConfig(linear_scales="tensor", layers={"3": LayerConfig((8, 4, 8, 4, 4))})
    x = torch.rand(16, 2, 4, 4)
    conv, linear = integerize(quantize(model, x[:1], config).calibrate([x]), "test").ops[-3::2]
    assert isinstance(conv, Conv)
    assert isinstance(linear, Linear)
    assert len(set(conv.requant.multiplier.tolist())) == 4
    by_width = set(zip(linear.weights.bits, linear.requant.multiplier.tolist(), strict=True))
    assert len(by_width) == 2
