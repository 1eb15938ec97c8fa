# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from plinio_deploy.codegen import generate
from plinio_deploy.codegen.manifest import FILE
from plinio_deploy.report import collect
from plinio_deploy.report.content import op_name
from tests.plinio_deploy.report.samples import measurement
from tests.plinio_deploy.toy import toy, with_op


def test_collect() -> None:
    network = toy()
    manifest = json.loads(generate(network).files[FILE])
    measurements = [measurement("cortex-m4"), measurement("host", None)]
    document = collect(
        network=network, recipe="toy", training={"seed": 1}, manifest=manifest, measurements=measurements
    )
    assert json.loads(json.dumps(document)) == document
    assert document["measurement"] == measurements[0]
    assert [item["target"] for item in document["measurements"]] == ["cortex-m4", "host"]
    assert [op["name"] for op in document["network"]["ops"]] == [op.name for op in network.ops]
    assert document["network"]["macs"] == sum(network.macs(op) for op in network.ops)
    assert document["memory_plan"]["arena_bytes"] == manifest["arena_bytes"]
    assert len(document["memory_plan"]["buffers"]) == len(manifest["buffers"])


@pytest.mark.parametrize(("name", "expected"), [("stem", "conv"), ("peak", "max_pool"), ("head", "linear")])
def test_op_name(name: str, expected: str) -> None:
    assert op_name(next(op for op in toy().ops if op.name == name)) == expected


def test_depthwise_has_a_name_of_its_own() -> None:
    stem = next(op for op in with_op(toy(), "stem", groups=2).ops if op.name == "stem")
    codes = stem.weights.codes[:, :, :, :1]  # type: ignore[union-attr]
    single = with_op(toy(), "stem", groups=2, weights=type(stem.weights)(codes, (8, 4, 4)))  # type: ignore[union-attr]
    assert op_name(next(op for op in single.ops if op.name == "stem")) == "depthwise"
