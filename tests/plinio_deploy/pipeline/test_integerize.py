# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from plinio_deploy import host, interpreter, storage
from plinio_deploy.console import Terminal
from plinio_deploy.pipeline import integerize, train
from plinio_deploy.pipeline.request import Request
from plinio_deploy.pipeline.stage import Record
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.testdata import TestData, load_test_data
from tests.plinio_deploy.pipeline.test_train import TINY

QUIET = Terminal(-1)


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    return Request(Workspace(tmp_path_factory.mktemp("run") / "out"), str(TINY))


@pytest.fixture(scope="module")
def trainer(request_: Request) -> train.Trainer:
    return train.prepare(request_, QUIET)


def _run(request: Request, trainer: train.Trainer) -> Record:
    workspace = request.workspace
    trained = train.run(workspace.train, trainer, QUIET)
    return integerize.run(
        workspace.integerize, trainer, integerize.from_training(trainer, trained, workspace.train.path), QUIET
    )


def test_everything_later_stages_need_is_there(request_: Request, trainer: train.Trainer) -> None:
    record = _run(request_, trainer)
    folder = request_.workspace.integerize.path
    network = storage.load(folder)
    data, metrics = load_test_data(folder)
    assert record.facts["network_digest"] == storage.digest(network)
    assert (folder / integerize.PRINTED).read_text(encoding="utf-8").strip()
    assert data.samples == 40
    codes = host.quantize(network.input_tensors()[0], host.nchw_to_nhwc(trainer.data.test.x, (4, 4, 1)))
    np.testing.assert_array_equal(data.codes[0], codes)
    outputs = interpreter.run(network, data.codes)[network.outputs[0]]
    assert metrics.in_integers == float(np.mean(outputs.argmax(axis=1) == data.labels))
    assert metrics.max_drop == 0.1
    assert _run(request_, trainer).kept


def test_integer_outputs_come_back_in_torch_order_and_post_processed(request_: Request, trainer: train.Trainer) -> None:
    import torch

    from plinio_deploy.recipes import training
    from plinio_deploy.recipes.checkpoint import load_module

    _run(request_, trainer)
    network = storage.load(request_.workspace.integerize.path)
    data, _ = load_test_data(request_.workspace.integerize.path)
    qnet = training.make_qnet(trainer.recipe, training.build_model(trainer.recipe))
    load_module(qnet, request_.workspace.train.path / train.QUANTIZED_WEIGHTS)
    qnet.eval()
    few = TestData(tuple(codes[:9] for codes in data.codes), data.labels[:9])
    outputs = integerize._outputs(network, qnet, few, trainer.data.test.x)
    np.testing.assert_allclose(
        outputs.sum(axis=1), 1.0, rtol=1e-6, err_msg="the softmax at the end belongs to the host"
    )
    with torch.no_grad():
        quantized = qnet(torch.from_numpy(trainer.data.test.x[:9])).numpy()
    np.testing.assert_allclose(outputs, quantized, atol=0.05)


def test_torch_order() -> None:
    values = np.arange(24.0).reshape(1, 2, 3, 4)
    assert integerize._torch_order(values, (4, 2, 3))[0, 1, 0, 2] == values[0, 0, 2, 1]
    assert integerize._torch_order(np.zeros((5, 1, 7, 4)), (4, 7)).shape == (5, 4, 7)
    assert integerize._torch_order(np.zeros((5, 3)), (3,)).shape == (5, 3)
