# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy import interpreter
from plinio_deploy.errors import AccuracyTooLow, InvalidNetwork, NotBitExact
from plinio_deploy.measure import MEMORY_KEYS, Comparison, Reference, Step, compare, input_bytes, measurement, reference
from plinio_deploy.packing import pack, unpack
from plinio_deploy.targets.runners.base import CycleCounts, Simulation
from plinio_deploy.testdata import DATA_FILE, METRICS_FILE, Metrics, TestData, load_test_data, save_test_data
from tests.plinio_deploy.toy import toy

NETWORK = toy()
STEPS = [Step(op.name, op.output, NETWORK.tensors[op.output].nbytes) for op in NETWORK.ops if op.name != "flatten"]
METRICS = Metrics(in_float=0.98, in_integers=0.978, min_float=0.97, max_drop=0.005)
SAMPLES = 70
"""More than one chunk of the interpreter."""


@pytest.fixture(scope="module")
def data() -> TestData:
    codes = np.random.default_rng(1).integers(0, 256, (SAMPLES, 4, 5, 2)).astype(np.int32)
    return TestData((codes,), np.arange(SAMPLES))


@pytest.fixture(scope="module")
def expected(data: TestData) -> Reference:
    return reference(NETWORK, data, STEPS, 3)


def _compare(expected: Reference, outputs: bytes | None = None, trace: bytes | None = None) -> Comparison:
    return compare(
        NETWORK,
        STEPS,
        expected,
        expected.outputs.tobytes() if outputs is None else outputs,
        expected.trace.tobytes() if trace is None else trace,
    )


def test_reference_is_the_interpreter(data: TestData, expected: Reference) -> None:
    values = interpreter.run(NETWORK, data.codes)
    assert expected.outputs.tobytes() == pack(NETWORK.tensors["logits"], values["logits"])
    assert expected.trace.shape == (3, sum(step.bytes for step in STEPS))
    second = expected.trace[1].tobytes()
    first_step = NETWORK.tensors[STEPS[0].tensor]
    np.testing.assert_array_equal(unpack(first_step, second[: first_step.nbytes], 1)[0], values["padded"][1])


def test_no_trace_at_all(data: TestData) -> None:
    assert reference(NETWORK, data, STEPS, 0).trace.size == 0


def test_input_bytes_are_the_samples_back_to_back(data: TestData) -> None:
    assert input_bytes(NETWORK, data) == data.codes[0].astype(np.uint8).tobytes()


def test_equal_bytes_are_bit_exact(expected: Reference) -> None:
    found = _compare(expected)
    assert (found.samples, found.differing_samples, found.differing_tensors, found.first) == (SAMPLES, 0, 0, None)
    assert found.traced_tensors == 3 * len(STEPS)
    found.check("cortex-m4")


def test_a_slow_device_may_run_the_first_samples_only(expected: Reference) -> None:
    found = _compare(expected, expected.outputs[:5].tobytes(), expected.trace[:2].tobytes())
    assert (found.samples, found.traced_samples, found.first) == (5, 2, None)
    outputs = expected.outputs[:5].copy()
    outputs[4, 0] ^= 1
    found = _compare(expected, outputs.tobytes(), expected.trace[:2].tobytes())
    assert (found.samples, found.differing_samples) == (5, 1)
    assert found.first is not None
    assert found.first.sample == 4


def test_wrong_output_is_located(expected: Reference) -> None:
    outputs = expected.outputs.copy()
    outputs[69, 2] ^= 1
    outputs[12, 1] ^= 128
    found = _compare(expected, outputs.tobytes())
    assert found.differing_samples == 2
    assert found.differing_tensors == 0
    assert found.first is not None
    assert (found.first.layer, found.first.tensor, found.first.sample) == ("head", "logits", 12)
    assert found.first.index == (1,)
    assert found.first.got == found.first.expected + (128 if found.first.expected < 0 else -128)


def test_tensor_inside_comes_before_the_output(expected: Reference) -> None:
    outputs, trace = expected.outputs.copy(), expected.trace.copy()
    outputs[0, 0] ^= 1
    place = sum(step.bytes for step in STEPS[:1]) + 4  # the second row of `features`, channel 1
    trace[2, place] ^= 1
    found = _compare(expected, outputs.tobytes(), trace.tobytes())
    assert found.differing_tensors == 1
    assert found.first is not None
    assert (found.first.layer, found.first.sample, found.first.index) == ("stem", 2, (0, 1, 1))
    with pytest.raises(NotBitExact) as caught:
        found.check("rv32imc")
    assert caught.value.where == "layer stem, tensor features, sample 2, index [0, 1, 1]"
    assert caught.value.got == found.first.got
    assert "1 of 70 outputs" in str(caught.value)


def test_differing_padding_bits_are_reported_too() -> None:
    tensor = NETWORK.tensors["coarse"]
    assert tensor.row_bytes * 2 == tensor.channels, "6 channels of 4 bits fill 3 bytes; take another example"
    odd = toy()
    steps = [Step("narrow", "coarse", tensor.nbytes)]
    rows = np.zeros((1, tensor.nbytes), np.uint8)
    wrong = rows.copy()
    wrong[0, 1] = 0x10
    found = compare(odd, steps, Reference(np.zeros((1, 4), np.uint8), rows), bytes(4), wrong.tobytes())
    assert found.first is not None
    assert (found.first.index, found.first.got, found.first.expected) == ((0, 0, 3), 1, 0)


@pytest.mark.parametrize("outputs", [b"", b"123"])
def test_wrong_length_is_noticed(expected: Reference, outputs: bytes) -> None:
    with pytest.raises(ValueError, match=r"reshape|no outputs"):
        _compare(expected, outputs)


def test_test_data_round_trip(tmp_path: Path, data: TestData) -> None:
    save_test_data(tmp_path, data, METRICS)
    first = (tmp_path / DATA_FILE).read_bytes()
    loaded, metrics = load_test_data(tmp_path)
    np.testing.assert_array_equal(loaded.codes[0], data.codes[0])
    np.testing.assert_array_equal(loaded.labels, data.labels)
    assert metrics == METRICS
    save_test_data(tmp_path, data, METRICS)
    assert (tmp_path / DATA_FILE).read_bytes() == first


@pytest.mark.parametrize("name", [DATA_FILE, METRICS_FILE])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_damaged_test_data(tmp_path: Path, data: TestData, name: str, damage: str) -> None:
    save_test_data(tmp_path, data, METRICS)
    path = tmp_path / name
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:20])
        case "gone":
            path.unlink()
        case _:
            path.write_bytes(b"")
    with pytest.raises(InvalidNetwork, match="cannot be read"):
        load_test_data(tmp_path)


def test_bars() -> None:
    METRICS.check()
    Metrics(0.98, 0.975, None, 0.005).check()
    with pytest.raises(AccuracyTooLow, match="float network misses"):
        Metrics(0.96, 0.96, 0.97, 0.005).check()
    with pytest.raises(AccuracyTooLow, match="loses too much") as caught:
        Metrics(0.98, 0.96, 0.97, 0.005).check()
    assert "0.0200 lost" in str(caught.value)


def test_cycles_name_their_source_and_conditions(expected: Reference) -> None:
    document = measurement(
        target="ibex",
        runner="rtl",
        comparison=_compare(expected),
        metrics=METRICS,
        layers=[{"name": "stem", "op": "conv", "macs": 10}],
        instructions=1234,
        cycles=CycleCounts(2000, {"net_run": 2000}, "rtl", "Ibex; slow memory"),
        simulation=Simulation(5000, 0.5),
        memory=dict.fromkeys(MEMORY_KEYS, 1),
        network_digest="d",
        tools={},
    )
    assert document["total"] == {
        "instructions": 1234,
        "cycles": 2000,
        "cycles_source": "rtl",
        "cycles_conditions": "Ibex; slow memory",
        "approximate": False,
    }
    assert document["simulation"] == {"cycles": 5000, "cycles_per_second": 10_000}
    assert document["sources"]["cycles"].endswith("; Ibex; slow memory")


def test_measurement_keeps_the_agreed_keys(expected: Reference) -> None:
    layers = [{"name": "stem", "op": "conv", "macs": 10}, {"name": "head", "op": "linear", "macs": 5}]
    document = measurement(
        target="cortex-m4",
        runner="qemu",
        comparison=_compare(expected),
        metrics=METRICS,
        layers=layers,
        instructions=1234,
        cycles=None,
        simulation=None,
        memory=dict.fromkeys(MEMORY_KEYS, 1),
        network_digest="d",
        tools={"gcc": "12"},
    )
    agreed = {"schema", "target", "runner", "samples", "differing_samples", "differing_tensors", "accuracy", "macs"}
    agreed |= {"total", "layers", "memory", "network_digest", "tools"}
    assert agreed <= document.keys()
    assert document["schema"] == 1
    assert document["macs"] == 15
    assert document["total"]["instructions"] == 1234
    assert (document["total"]["cycles"], document["total"]["cycles_source"]) == (None, None)
    assert set(document["accuracy"]) == {"float", "integer"}
    json.dumps(document)
