# SPDX-License-Identifier: Apache-2.0
"""What the manifest says, and that it reads back."""

from __future__ import annotations

import pytest

from plinio_deploy import storage
from plinio_deploy.codegen import Manifest, generate
from plinio_deploy.errors import UsageError
from tests.networks import digits_cnn, residual


def test_the_manifest_describes_the_network() -> None:
    network = digits_cnn()
    document = Manifest.parse(generate(network).files["manifest.json"])
    assert document.network_digest == storage.digest(network)
    assert document.macs == sum(network.macs(op) for op in network.ops) == sum(step.macs for step in document.steps)
    assert (document.input_bytes, document.output_bytes) == (64, 10)
    assert document.entry == "net_run"
    assert [step.op for step in document.steps] == ["conv", "conv", "max_pool", "conv", "max_pool", "linear", "linear"]
    assert document.steps[1].w_bits == {"2": 4, "4": 4, "8": 4}
    assert (document.steps[2].a_bits, document.steps[2].w_bits) == (4, {})
    assert list(document.aliases) == [op.output for op in network.ops if op.kind == "reshape"]
    assert (document.steps[-1].place, document.steps[-1].offset) == (1, 0)
    assert document.steps[0].weights_bytes == 8 * 9 + 8 * 4 + 8 * 4
    assert {buffer.tensor for buffer in document.buffers} == {step.tensor for step in document.steps[:-1]}
    for step in document.steps:
        assert step.symbol == f"net_l{step.index:02}_{step.layer}"


def test_the_manifest_reads_back_and_refuses_damage() -> None:
    data = generate(residual()).files["manifest.json"]
    assert Manifest.parse(data).dump() == data
    assert data.startswith(b'{\n  "schema": 1,\n')
    with pytest.raises(UsageError, match="manifest"):
        Manifest.parse(data.replace(b'"schema": 1', b'"schema": 2'))
    with pytest.raises(UsageError, match="manifest"):
        Manifest.parse(data[:-20])
