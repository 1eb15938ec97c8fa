# SPDX-License-Identifier: Apache-2.0
"""Device against interpreter: what is fed in, what must come back, and the measurement that is written down.

Nothing here runs a device or imports torch: the pipeline's measure stage brings bytes from a runner, this module says
what they ought to have been and where they differ first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from plinio_deploy import interpreter
from plinio_deploy.errors import NotBitExact
from plinio_deploy.network import Network, Tensor
from plinio_deploy.packing import ByteArray, pack, unpack
from plinio_deploy.targets.runners.base import CYCLE_SOURCES, CycleCounts, Simulation
from plinio_deploy.testdata import Metrics, TestData


@dataclass(frozen=True)
class Step:
    """One call of the generated code, as the manifest lists it.

    Attributes:
        layer: name of the op.
        tensor: the tensor it writes.
        bytes: packed size of what it writes for one sample.
        first_row, rows: of the tensor, if it writes only these.
    """

    layer: str
    tensor: str
    bytes: int
    first_row: int | None = None
    rows: int | None = None


def _written(network: Network, step: Step) -> tuple[Tensor, slice]:
    """What a call writes, as a tensor of its own, and where that is along the first axis of the whole."""
    tensor = network.tensors[step.tensor]
    if step.first_row is None or step.rows is None:
        return tensor, slice(None)
    return replace(tensor, shape=(step.rows, *tensor.shape[1:])), slice(step.first_row, step.first_row + step.rows)


@dataclass(frozen=True)
class Difference:
    """The first place where the device computed something else.

    Attributes:
        layer: name of the op that wrote the tensor.
        tensor: name of the tensor.
        sample: number of the test sample.
        index: place in the tensor, NHWC without the batch.
        got: the device's code.
        expected: the interpreter's code.
    """

    layer: str
    tensor: str
    sample: int
    index: tuple[int, ...]
    got: int
    expected: int


def _rows(tensors: Sequence[Tensor], codes: Sequence[npt.NDArray[np.integer[Any]]]) -> ByteArray:
    """``(N, bytes)``: the packed tensors of each sample back to back."""
    parts = [
        np.frombuffer(pack(tensor, values), dtype=np.uint8).reshape(len(values), tensor.nbytes)
        for tensor, values in zip(tensors, codes, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def input_bytes(network: Network, data: TestData) -> bytes:
    """What the device reads: all inputs of sample 0, then of sample 1, and so on."""
    return _rows(network.input_tensors(), data.codes).tobytes()


@dataclass(frozen=True)
class Reference:
    """What the interpreter computes for a test set.

    Attributes:
        outputs: ``(N, output bytes)``.
        trace: ``(K, bytes of all steps)`` of the first K samples.
    """

    outputs: ByteArray
    trace: ByteArray


def reference(network: Network, data: TestData, steps: Sequence[Step], trace_samples: int) -> Reference:
    """Run the interpreter over a test set.

    Args:
        network: a verified network.
        data: its test set.
        steps: the generated code's steps in order.
        trace_samples: of how many samples every tensor is kept.
    """
    values = interpreter.run(network, data.codes, keep=network.outputs)
    outputs = _rows(network.output_tensors(), [values[name] for name in network.outputs])
    if not trace_samples:
        return Reference(outputs, np.zeros((0, 0), np.uint8))
    traced = [_written(network, step) for step in steps]
    inside = interpreter.run(network, data.head(trace_samples).codes, keep={tensor.name for tensor, _ in traced})
    trace = _rows([tensor for tensor, _ in traced], [inside[tensor.name][:, rows] for tensor, rows in traced])
    return Reference(outputs, trace)


@dataclass(frozen=True)
class Comparison:
    """Device against interpreter.

    Attributes:
        samples: inferences whose outputs were compared.
        differing_samples: how many of them differ in at least one byte.
        traced_samples: inferences of which every tensor was compared.
        traced_tensors: tensors compared in all (samples x steps).
        differing_tensors: how many of those differ.
        first: the first difference, in the order samples x steps; tensors inside the network come before outputs.
    """

    samples: int
    differing_samples: int
    traced_samples: int
    traced_tensors: int
    differing_tensors: int
    first: Difference | None

    def check(self, target: str) -> None:
        """Raises `NotBitExact` that names the first difference, if there is one."""
        if self.first is None:
            return
        first = self.first
        raise NotBitExact(
            f"{target} computed another integer than the interpreter",
            where=f"layer {first.layer}, tensor {first.tensor}, sample {first.sample}, index {list(first.index)}",
            got=first.got,
            expected=first.expected,
            hints=(
                f"{self.differing_samples} of {self.samples} outputs differ",
                f"{self.differing_tensors} of {self.traced_tensors} traced tensors differ; the first is named above",
                "this is a bug in the code generator or the compiler: report it with the folder of this run",
            ),
        )


def _locate(tensor: Tensor, first_row: int, layer: str, sample: int, got: bytes, expected: bytes) -> Difference:
    have, want = unpack(tensor, got, 1)[0], unpack(tensor, expected, 1)[0]
    places = np.argwhere(have != want)
    if len(places) == 0:  # only the padding bits at the end of a row differ
        row = next(i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
        return Difference(layer, tensor.name, sample, (row,), got[row], expected[row])
    index = tuple(int(place) for place in places[0])
    place = (index[0] + first_row, *index[1:])
    return Difference(layer, tensor.name, sample, place, int(have[index]), int(want[index]))


def _scan(
    fields: Sequence[tuple[str, Tensor, slice]], got: ByteArray, expected: ByteArray
) -> tuple[int, Difference | None]:
    """How many (sample, field) pairs differ, and the first one; a field is a layer, its tensor, and which rows."""
    differing, first = 0, None
    for sample in np.flatnonzero((got != expected).any(axis=1)).tolist():
        offset = 0
        for layer, tensor, rows in fields:
            have = got[sample, offset : offset + tensor.nbytes].tobytes()
            want = expected[sample, offset : offset + tensor.nbytes].tobytes()
            offset += tensor.nbytes
            if have != want:
                differing += 1
                first = first or _locate(tensor, rows.start or 0, layer, sample, have, want)
    return differing, first


def compare(network: Network, steps: Sequence[Step], expected: Reference, outputs: bytes, trace: bytes) -> Comparison:
    """Compare what a device sent with the reference.

    Args:
        network: the network that both computed.
        steps: the generated code's steps in order.
        expected: what the interpreter computed.
        outputs: the device's packed outputs, back to back: of all samples, or of the first that a slow device ran.
        trace: the device's packed step tensors of the first samples, back to back.

    Raises:
        ValueError: a device sent no whole number of samples, or more than asked for; a runner checks that earlier.
    """
    got_outputs = np.frombuffer(outputs, dtype=np.uint8).reshape(-1, expected.outputs.shape[1])
    if len(got_outputs) == 0:
        raise ValueError("a device sent no outputs, so nothing would be compared")
    got_trace = np.frombuffer(trace, dtype=np.uint8).reshape(-1 if trace else 0, expected.trace.shape[1])
    expected = Reference(expected.outputs[: len(got_outputs)], expected.trace[: len(got_trace)])
    writers = {op.output: op.name for op in network.ops}
    output_fields = [(writers.get(tensor.name, "input"), tensor, slice(None)) for tensor in network.output_tensors()]
    step_fields = [(step.layer, *_written(network, step)) for step in steps]
    differing_tensors, first_inside = _scan(step_fields, got_trace, expected.trace)
    _, first_output = _scan(output_fields, got_outputs, expected.outputs)
    return Comparison(
        samples=len(got_outputs),
        differing_samples=int((got_outputs != expected.outputs).any(axis=1).sum()),
        traced_samples=len(got_trace),
        traced_tensors=len(got_trace) * len(steps),
        differing_tensors=differing_tensors,
        first=first_inside or first_output,
    )


def measurement(
    *,
    target: str,
    runner: str,
    comparison: Comparison,
    metrics: Metrics,
    layers: Sequence[Mapping[str, Any]],
    instructions: int | None,
    cycles: CycleCounts | None,
    simulation: Simulation | None,
    memory: Mapping[str, int | None],
    network_digest: str,
    tools: Mapping[str, str],
    bands: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of ``measurement.json``; its keys are a contract with outside readers: add, never rename.

    Args:
        target: name of the target.
        runner: what executed the code: ``host``, ``qemu`` and so on.
        comparison: device against interpreter.
        metrics: of the integerize stage. The device's accuracy is the integer one, for its outputs are the same.
        layers: one mapping per step.
        instructions: of one inference; ``None`` where the runner cannot count.
        cycles: of one inference; ``None`` where the runner cannot tell.
        simulation: how much a simulator did, if one did.
        memory: the keys of `MEMORY_KEYS`, in bytes.
        network_digest: of the integer network.
        tools: versions of everything that took part.
        bands: layers that run in bands of rows, and what that costs; ``None`` where all run as a whole.
    """
    document = {
        "schema": 1,
        "target": target,
        "runner": runner,
        "samples": comparison.samples,
        "differing_samples": comparison.differing_samples,
        "differing_tensors": comparison.differing_tensors,
        "traced_samples": comparison.traced_samples,
        "traced_tensors": comparison.traced_tensors,
        "accuracy": {
            "float": metrics.in_float,
            "integer": metrics.in_integers,
            **({} if metrics.in_seed is None else {"seed": metrics.in_seed}),
        },
        "macs": sum(int(layer["macs"]) for layer in layers),
        "total": {
            "instructions": instructions,
            "cycles": None if cycles is None else cycles.total,
            "cycles_source": None if cycles is None else cycles.source,
            "cycles_conditions": None if cycles is None else cycles.conditions,
            "approximate": None if cycles is None else cycles.approximate,
        },
        "layers": [dict(layer) for layer in layers],
        "memory": {key: memory[key] for key in MEMORY_KEYS},
        "network_digest": network_digest,
        "tools": dict(tools),
        "sources": {
            **SOURCES,
            "instructions": SOURCES["instructions"] if instructions is not None else "not counted",
            "cycles": "not counted" if cycles is None else f"{CYCLE_SOURCES[cycles.source]}; {cycles.conditions}",
        },
    }
    if bands is not None:
        document["bands"] = dict(bands)
    if simulation is not None:
        document["simulation"] = {"cycles": simulation.cycles, "cycles_per_second": simulation.cycles_per_second}
    return document


MEMORY_KEYS = (
    "arena_bytes",
    "arena_bound_bytes",
    "stack_peak_bytes",
    "ram_bytes",
    "flash_bytes",
    "weights_bytes",
    "code_bytes",
)

SOURCES: Mapping[str, str] = {
    "outputs": "read from the device and compared byte by byte with the interpreter",
    "accuracy": "metric of the recipe on its whole test set; the integer one from the interpreter's outputs",
    "macs": "nominal, from the shapes",
    "instructions": "exact count of the instructions that one inference executed; no timing",
    "arena_bytes": "the memory plan of the generated code",
    "arena_bound_bytes": "the most bytes of tensors that live at the same time",
    "stack_peak_bytes": "painted stack, read back after the run",
    "ram_bytes": "sections of the ELF: variables of the whole firmware, arena and bench included; plus the stack peak",
    "flash_bytes": "sections of the ELF: code, constants and initial data of the whole firmware",
    "weights_bytes": "symbols of the ELF: constant arrays of the network",
    "code_bytes": "symbols of the ELF: functions of the network",
}
