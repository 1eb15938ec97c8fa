# SPDX-License-Identifier: Apache-2.0
"""A run's folder whose integerize stage holds the toy network: where tests start that need no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from plinio_deploy import storage
from plinio_deploy.network import Network
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.testdata import Metrics, TestData, save_test_data
from tests.plinio_deploy.toy import toy

METRICS = Metrics(in_float=0.98, in_integers=0.978, min_float=0.97, max_drop=0.005)


def test_data(network: Network, samples: int) -> TestData:
    rng = np.random.default_rng(3)
    codes = tuple(
        rng.integers(tensor.qmin, tensor.qmax + 1, (samples, *tensor.shape)).astype(np.int32)
        for tensor in network.input_tensors()
    )
    return TestData(codes, np.zeros(samples, dtype=np.int64))


test_data.__test__ = False  # type: ignore[attr-defined]  # a helper, whatever its name looks like


def toy_workspace(
    out: Path, *, network: Network | None = None, samples: int = 20, metrics: Metrics = METRICS
) -> Workspace:
    network = network or toy()
    workspace = Workspace(out)
    folder = workspace.integerize.path
    storage.save(network, folder)
    save_test_data(folder, test_data(network, samples), metrics)
    return workspace
