# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from plinio_deploy import interpreter
from plinio_deploy.errors import UsageError
from plinio_deploy.integerize import ExactNetwork
from plinio_deploy.network import Flavour, Network
from tests import networks
from tests.plinio_deploy.toy import toy

FLAVOURS: Sequence[Flavour] = ("hi32", "tflite")
FIXED: dict[str, Callable[[Flavour], Network]] = {
    "toy": toy,
    "digits": networks.digits_cnn,
    "residual": networks.residual,
    "tcn": networks.tcn,
    "packed": networks.packed_rows,
}


def same(network: Network, inputs: Sequence[npt.NDArray[Any]]) -> None:
    expected = interpreter.run(network, inputs)
    found = ExactNetwork(network).trace(*(torch.from_numpy(np.asarray(codes)) for codes in inputs))
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert np.array_equal(tensor.numpy(), expected[name]), name


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", FIXED)
def test_every_tensor_equals_the_interpreters(name: str, flavour: Flavour) -> None:
    network = FIXED[name](flavour)
    same(network, networks.random_inputs(network, 5))


@pytest.mark.parametrize("seed", range(15))
def test_random_networks(seed: int) -> None:
    network = networks.random_network(seed)
    same(network, networks.random_inputs(network, 4, seed))


def test_forward_gives_the_outputs_in_order() -> None:
    network = toy()
    codes = [torch.from_numpy(part) for part in networks.random_inputs(network, 3)]
    exact = ExactNetwork(network)
    values = exact.trace(*codes)
    for name, tensor in zip(network.outputs, exact(*codes), strict=True):
        assert torch.equal(tensor, values[name])


def test_weights_are_buffers_and_nothing_is_trained() -> None:
    exact = ExactNetwork(toy())
    assert not list(exact.parameters())
    assert list(exact.buffers())


def test_wrong_inputs_are_refused() -> None:
    network = toy()
    exact = ExactNetwork(network)
    with pytest.raises(UsageError, match="number of inputs"):
        exact()
    with pytest.raises(UsageError, match="wrong shape"):
        exact(*(torch.zeros((1, 99), dtype=torch.int64) for _ in network.inputs))


@pytest.mark.gpu
@pytest.mark.parametrize("seed", range(6))
def test_on_a_gpu(seed: int) -> None:
    network = networks.random_network(seed)
    inputs = networks.random_inputs(network, 4, seed)
    expected = interpreter.run(network, inputs)
    exact = ExactNetwork(network).to("cuda")
    for name, tensor in exact.trace(*(torch.from_numpy(part).to("cuda") for part in inputs)).items():
        assert np.array_equal(tensor.cpu().numpy(), expected[name]), name
