# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from plinio_deploy import host, interpreter
from plinio_deploy.integerize import ExactNetwork, integerize
from plinio_deploy.network import Network, op_inputs
from plinio_deploy.quantization import QuantNetwork
from plinio_deploy.recipe import Split, load_recipe
from plinio_deploy.recipes.digits import TEST_IMAGES, DigitsNet, load_digits
from plinio_deploy.recipes.loop import evaluate, predict
from plinio_deploy.recipes.training import train_float, train_qat

RECIPE = load_recipe("digits")


def test_the_split_is_fixed_whole_and_stratified() -> None:
    data, again = load_digits(), load_digits()
    parts = (data.train, data.val, data.test)
    assert [len(part) for part in parts] == [1237, 200, 360]
    assert np.array_equal(data.test.x, again.test.x)
    seen = {image.tobytes() for part in parts for image in part.x}
    assert len(seen) == 1797, "no image is in two parts"
    for part in parts:
        share = np.bincount(part.y, minlength=10) / len(part)
        assert share.min() > 0.08
        assert share.max() < 0.12
    assert data.train.x.dtype == np.float32
    assert (data.train.x.min(), data.train.x.max()) == (0.0, 1.0)


def test_size_is_as_documented() -> None:
    model = DigitsNet()
    assert sum(p.numel() for p in model.parameters() if p.dim() > 1) == 5928


Trained = tuple[QuantNetwork, Network, Split]


@pytest.fixture(scope="module")
def trained() -> Trained:
    data = RECIPE.data()
    model = train_float(RECIPE, data=data, epochs=12)
    assert evaluate(RECIPE, model, data.test) >= 0.95
    qnet = train_qat(RECIPE, model, data=data, epochs=2)
    return qnet, integerize(qnet, "digits"), data.test


def test_float_quantizers_and_integers_agree(trained: Trained) -> None:
    qnet, network, test = trained
    tensor = network.input_tensors()[0]
    codes = host.quantize(tensor, host.nchw_to_nhwc(test.x, tensor.shape))
    reference = interpreter.run(network, [codes])
    for name, found in ExactNetwork(network).trace(torch.from_numpy(codes)).items():
        assert np.array_equal(found.numpy(), reference[name]), name
    outputs = host.dequantize(network.output_tensors()[0], reference[network.outputs[0]])
    same = np.argmax(outputs, axis=1) == np.argmax(predict(qnet, test), axis=1)
    assert len(test) == TEST_IMAGES
    assert same.mean() >= 0.999
    assert abs(RECIPE.metric(outputs, test.y) - evaluate(RECIPE, qnet, test)) <= 0.001


def test_it_fits_the_smallest_board(trained: Trained) -> None:
    _, network, _ = trained
    assert sum(network.macs(op) for op in network.ops) == 115_440
    together = max(
        sum(network.tensors[name].nbytes for name in (*op_inputs(op), op.output))
        for op in network.ops
        if op.kind != "add"
    )
    assert together <= 2304
