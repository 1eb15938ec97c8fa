# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import logging
import math
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization import QuantConfig, capture, quantize
from plinio_deploy.quantization.capture import identifier
from plinio_deploy.quantization.graph import Add, Clamp, Conv, Linear, PostProcess, Reshape


class Lambda(nn.Module):
    """A model out of a function, with a layer or two in reach."""

    def __init__(self, function: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def kinds(graph: Any) -> list[str]:
    return [type(node.operator).__name__ for node in graph.nodes]


def same_as_float(model: nn.Module, x: Tensor) -> None:
    """The captured network without quantizers computes what the model does."""
    network = quantize(model, x[:1], QuantConfig())
    network.mode = "float"
    with torch.no_grad():
        torch.testing.assert_close(network(x), model.eval()(x.clone()))


def test_names_are_identifiers_and_paths_are_module_paths() -> None:
    graph = capture(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Flatten())), torch.zeros(1, 1, 5, 5))
    assert [node.path for node in graph.nodes] == ["input", "0", "1.0", "1.1"]
    assert [node.name for node in graph.nodes] == ["input", "layer_0", "layer_1_0", "layer_1_1"]


@pytest.mark.parametrize(("path", "name"), [("a.b", "a_b"), ("0", "layer_0"), ("_x", "layer_x"), ("é.c", "layer__c")])
def test_identifier(path: str, name: str) -> None:
    assert identifier(path) == name


def test_functional_operators_go_by_the_module_that_calls_them() -> None:
    class Block(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(x + x)

    graph = capture(Lambda(lambda self, x: self.block(x), block=Block()), torch.zeros(1, 2, 4, 4))
    assert [node.path for node in graph.nodes[1:]] == ["block.add", "block.relu"]


def test_source_lines_point_into_the_users_file() -> None:
    graph = capture(Lambda(lambda self, x: self.conv(x), conv=nn.Conv2d(1, 1, 1)), torch.zeros(1, 1, 2, 2))
    where = graph.nodes[1].where
    assert where.module == "conv"
    assert where.source.rpartition(":")[0].endswith("test_capture.py")
    assert "test_capture.py" in str(where)


def test_the_model_is_not_touched() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True))
    model.train()
    next(module for module in model if isinstance(module, nn.BatchNorm2d)).eval()
    before = copy.deepcopy(model.state_dict())
    quantize(model, torch.rand(2, 1, 8, 8)).calibrate([torch.rand(4, 1, 8, 8)])
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_module_called_twice_keeps_one_set_of_parameters() -> None:
    model = Lambda(lambda self, x: self.conv(self.conv(x)), conv=nn.Conv2d(2, 2, 3, padding=1))
    graph = capture(model, torch.zeros(1, 2, 5, 5))
    convs = [node for node in graph.nodes if isinstance(node.operator, Conv)]
    assert [node.name for node in convs] == ["conv", "conv_2"]
    assert [node.path for node in convs] == ["conv", "conv"]
    assert len(graph.parameters) == 1
    assert len(quantize(model, torch.zeros(1, 2, 5, 5)).layers) == 1


def test_weights_that_are_computed_are_evaluated() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    weight: Any = layer.weight
    graph = capture(layer, torch.zeros(1, 3))
    operator = graph.nodes[-1].operator
    assert isinstance(operator, Linear)
    torch.testing.assert_close(graph.parameters[operator.parameters].weight, weight.detach())


def test_in_place_operators_change_every_name_of_the_tensor() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        y = self.conv(x)
        before = y.clone()
        self.relu(y)  # y itself changes, the clone does not
        return y + before

    model = Lambda(forward, conv=nn.Conv2d(1, 2, 3), relu=nn.ReLU(inplace=True))
    same_as_float(model, torch.randn(4, 1, 6, 6))


def test_in_place_add_is_seen_by_readers_of_the_first_operand() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        y = self.conv(x)
        z = y
        z += self.other(x)
        return y

    model = Lambda(forward, conv=nn.Conv2d(1, 2, 3), other=nn.Conv2d(1, 2, 3))
    same_as_float(model, torch.randn(4, 1, 6, 6))


def test_in_place_on_a_tensor_with_a_live_view_is_refused() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        y = self.conv(x)
        view = y.flatten(1)
        y.relu_()
        return view

    with pytest.raises(UnsupportedModel) as caught:
        capture(Lambda(forward, conv=nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 6, 6))
    assert "in-place relu" in str(caught.value)


def test_dropout_identity_and_copies_leave_no_trace() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return self.dropout(self.identity(x)).contiguous().clone().to(torch.float32) + x

    model = Lambda(forward, dropout=nn.Dropout(), identity=nn.Identity())
    assert kinds(capture(model, torch.zeros(1, 2, 3, 3))) == ["Input", "Add"]


@pytest.mark.parametrize(
    ("function", "post"),
    [
        (lambda x: functional.log_softmax(x, dim=-1), PostProcess(0, "log_softmax", 1)),
        (lambda x: x.softmax(1), PostProcess(0, "softmax", 1)),
        (torch.sigmoid, PostProcess(0, "sigmoid", None)),
        (lambda x: x.argmax(1, keepdim=True), PostProcess(0, "argmax", 1, True)),
    ],
)
def test_operators_at_the_end_are_left_to_the_host(function: Any, post: PostProcess) -> None:
    model = Lambda(lambda self, x: function(self.linear(x)), linear=nn.Linear(3, 4))
    graph = capture(model, torch.zeros(1, 3))
    assert graph.postprocess == (post,)
    assert graph.outputs == ("linear",)
    same_as_float(model, torch.randn(5, 3))


def test_an_operator_after_softmax_is_refused() -> None:
    model = Lambda(lambda self, x: self.linear(x).softmax(1).relu(), linear=nn.Linear(3, 4))
    with pytest.raises(UnsupportedModel, match="integer form") as caught:
        capture(model, torch.zeros(1, 3))
    assert "relu after softmax" in str(caught.value)


def test_several_inputs_and_outputs() -> None:
    model = Lambda(lambda self, x, y: (x + y, functional.relu(y)))
    graph = capture(model, (torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)))
    assert not graph.single_output
    assert len(graph.inputs) == 2
    assert [type(graph.by_name()[name].operator) for name in graph.outputs] == [Add, Clamp]


def test_a_bare_tensor_and_a_tuple_of_one_differ() -> None:
    layer = nn.ReLU()
    assert capture(layer, torch.zeros(1, 2)).single_output
    assert not capture(Lambda(lambda self, x: (layer(x),)), torch.zeros(1, 2)).single_output


def test_reshapes_that_mix_samples_are_refused() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        capture(Lambda(lambda self, x: x.view(-1, 2)), torch.zeros(1, 8))
    assert "mixes the samples" in str(caught.value)


def test_a_view_that_keeps_the_batch_is_a_reshape() -> None:
    graph = capture(Lambda(lambda self, x: x.view(x.shape[0], 4, 2)), torch.zeros(1, 8))
    assert isinstance(graph.nodes[-1].operator, Reshape)


def test_control_flow_on_values_is_refused_with_its_reason() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return x if bool(x.sum() > 0) else -x

    with pytest.raises(UnsupportedModel, match=r"torch\.export") as caught:
        capture(Lambda(forward), torch.zeros(1, 8))
    assert "tensor operators" in str(caught.value)


def test_an_output_that_ignores_the_input_is_refused() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.value * 2

    with pytest.raises(UnsupportedModel, match="does not depend"):
        capture(Constant(), torch.zeros(1, 8))


def test_relu_is_a_clamp_without_upper_bound() -> None:
    assert capture(nn.ReLU(), torch.zeros(1, 2)).nodes[-1].operator == Clamp(0.0, math.inf)


def by_value(_: nn.Module, x: Tensor) -> Tensor:
    sys.stderr.write("mine\n")
    logging.getLogger("torch.anything").warning("hidden")
    return x if float(x.sum()) > 0 else -x


def test_of_a_failed_capture_nothing_is_seen_but_our_error_and_what_the_model_prints(
    capfd: pytest.CaptureFixture[str],
) -> None:
    disabled = logging.root.manager.disable
    with pytest.raises(
        UnsupportedModel, match=r"cannot be captured by torch\.export\n.*where: +Lambda\n.*data-dependent"
    ):
        capture(Lambda(by_value), torch.zeros(1, 2, 4, 4))
    seen = capfd.readouterr()
    assert seen.out == ""
    assert set(seen.err.splitlines()) == {"mine"}
    assert logging.root.manager.disable == disabled


def test_what_a_model_prints_while_it_is_captured_is_seen(capfd: pytest.CaptureFixture[str]) -> None:
    def talkative(_: nn.Module, x: Tensor) -> Tensor:
        sys.stderr.write("mine\n")
        return torch.relu(x)

    capture(Lambda(talkative), torch.zeros(1, 2, 4, 4))
    assert set(capfd.readouterr().err.splitlines()) == {"mine"}
