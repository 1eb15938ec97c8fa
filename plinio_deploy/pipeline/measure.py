# SPDX-License-Identifier: Apache-2.0
"""Stage `measure`: the firmware runs on its target, and every integer is compared with the interpreter's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plinio_deploy import storage
from plinio_deploy.artifact import write_atomically
from plinio_deploy.codegen import Manifest
from plinio_deploy.codegen.manifest import StepEntry
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DeviceError
from plinio_deploy.measure import Comparison, Reference, Step, compare, input_bytes, measurement, reference
from plinio_deploy.network import Network
from plinio_deploy.pipeline.build import Project
from plinio_deploy.pipeline.stage import Record, StageFolder, digest_json, package_digest, perform
from plinio_deploy.targets import elf, runners
from plinio_deploy.targets.runners.base import Runner, RunRequest, RunResult, count_request
from plinio_deploy.targets.schema import Target
from plinio_deploy.testdata import Metrics, TestData

MEASUREMENT = "measurement.json"

_CODE = ("targets", "firmware", "interpreter.py", "measure.py", "packing.py", "fixedpoint.py", "pipeline/measure.py")


@dataclass
class Bench:
    """What every target's measurement has in common; the interpreter runs once for all of them.

    Attributes:
        network: the integer network.
        data: the samples to run.
        metrics: of the integerize stage.
        project: the generated C.
        trace_samples: samples of which every tensor is compared.
        known: what `reference` has computed, if it was called.
    """

    network: Network
    data: TestData
    metrics: Metrics
    project: Project
    trace_samples: int
    known: Reference | None = None

    def __post_init__(self) -> None:
        self.trace_samples = min(self.trace_samples, self.data.samples)

    def of(self, project: Project) -> Bench:
        """The same network and samples through other generated code."""
        other = replace(self, project=project)
        return other if other.steps == self.steps else replace(other, known=None)

    @property
    def steps(self) -> list[Step]:
        """The generated code's steps."""
        return steps_of(self.project.manifest)

    def reference(self) -> Reference:
        """What the interpreter computes; kept after the first call."""
        if self.known is None:
            self.known = reference(self.network, self.data, self.steps, self.trace_samples)
        return self.known


def steps_of(manifest: Manifest) -> list[Step]:
    """What a trace of a project has one after another: a tensor per layer, or some rows of it per band."""
    return [Step(call.layer, call.tensor, call.bytes, call.first_row, call.rows) for call in manifest.calls]


def run(folder: StageFolder, bench: Bench, target: Target, built: StageFolder, terminal: Terminal) -> Record:
    """Measure, unless that has been done.

    A measurement that shows a difference is written as well, but without a stage record, so that it is taken again.

    Args:
        folder: where the stage keeps its result.
        bench: network, samples and generated code.
        target: where to run.
        built: the finished build stage of that target.
        terminal: told what goes on.

    Raises:
        NotBitExact: the target computed another integer than the interpreter.
        DeviceError: the target did not answer.
    """
    runner = runners.for_target(target)
    record = built.record()
    if record is None:
        raise DeviceError(f"there is no firmware for {target.name}", where=str(built.path))
    inputs = {
        "build": record.digest,
        "data": bench.data.digest(),
        "metrics": digest_json(vars(bench.metrics)),
        "network": storage.digest(bench.network),
        "samples": f"{bench.data.samples}, {bench.trace_samples} traced",
        "runner": digest_json(
            [runner.name, *(table.model_dump() if table is not None else None for table in (target.rtl, target.qemu))]
        ),
        "code": package_digest(*_CODE),
    }

    def make(work: Path) -> Mapping[str, Any]:
        document, comparison = _measure(bench, target, runner, built.path, record.facts, terminal)
        text = json.dumps(document, indent=2) + "\n"
        write_atomically(work / MEASUREMENT, text.encode())
        if comparison.first is not None:
            write_atomically(folder.path / MEASUREMENT, text.encode())
        comparison.check(target.name)
        return {"target": target.name}

    return perform(folder, inputs, terminal, make)


def _measure(
    bench: Bench, target: Target, runner: Runner, built: Path, facts: Mapping[str, Any], terminal: Terminal
) -> tuple[dict[str, Any], Comparison]:
    program = built / str(facts["elf"])
    expected = bench.reference()
    manifest = bench.project.manifest
    symbols = [step.symbol for step in manifest.steps]
    count = None if runner.name == "host" else count_request(elf.read(program), symbols, prefix=manifest.prefix)
    everything = input_bytes(bench.network, bench.data)
    with terminal.progress(f"measure {target.name}", 2) as advance:
        outputs = runner.run(program, RunRequest("outputs", everything, bench.data.samples, count))
        advance(1, f"{outputs.samples} samples run")
        trace = None
        if bench.trace_samples:
            few = input_bytes(bench.network, bench.data.head(bench.trace_samples))
            trace = runner.run(program, RunRequest("trace", few, bench.trace_samples))
        advance(2, f"{trace.samples if trace else 0} samples traced")
    comparison = compare(bench.network, bench.steps, expected, outputs.outputs, trace.outputs if trace else b"")
    document = measurement(
        target=target.name,
        runner=runner.name,
        comparison=comparison,
        metrics=bench.metrics,
        layers=_layers(manifest.steps, outputs, facts["layers"]),
        instructions=outputs.instructions.total if outputs.instructions is not None else None,
        cycles=outputs.cycles,
        simulation=outputs.simulation,
        memory=_memory(manifest, facts, outputs),
        network_digest=storage.digest(bench.network),
        tools={**facts["tools"], **outputs.tools},
        bands=manifest.bands.model_dump() if manifest.bands is not None else None,
    )
    return document, comparison


def _memory(manifest: Manifest, facts: Mapping[str, Any], result: RunResult) -> dict[str, int]:
    return {
        "arena_bytes": manifest.arena_bytes,
        "arena_bound_bytes": manifest.arena_bound_bytes,
        "stack_peak_bytes": result.stack_peak_bytes,
        "ram_bytes": int(facts["ram_bytes"]) + result.stack_peak_bytes,
        "flash_bytes": int(facts["flash_bytes"]),
        "weights_bytes": int(facts["weights_bytes"]),
        "code_bytes": int(facts["code_bytes"]),
    }


def _layers(steps: Sequence[StepEntry], result: RunResult, code_bytes: Mapping[str, int]) -> list[dict[str, Any]]:
    """One entry per step."""
    # A layer that the compiler inlined in spite of all has no symbol, hence no count of its own.
    instructions = result.instructions.by_symbol if result.instructions is not None else {}
    cycles = result.cycles.by_symbol if result.cycles is not None else {}
    return [
        {
            "name": step.layer,
            "op": step.op,
            "macs": step.macs,
            "instructions": instructions.get(step.symbol),
            "cycles": cycles.get(step.symbol),
            "w_bits": dict(step.w_bits),
            "a_bits": step.a_bits,
            "tensor": step.tensor,
            "weights_bytes": step.weights_bytes,
            "code_bytes": int(code_bytes.get(step.layer, 0)),
            **_details(step.symbol, result),
        }
        for step in steps
    ]


def _details(symbol: str, result: RunResult) -> dict[str, Any]:
    """What is known of a layer's parts: `phases` where the code marks them, `stalls` where cycles are modelled."""
    found: dict[str, Any] = {}
    instructions = result.instructions.by_phase.get(symbol, {}) if result.instructions is not None else {}
    cycles = result.cycles.by_phase.get(symbol, {}) if result.cycles is not None else {}
    if instructions:
        found["phases"] = {
            phase: {"instructions": count, "cycles": cycles.get(phase)} for phase, count in instructions.items()
        }
    if result.cycles is not None and symbol in result.cycles.stalls:
        found["stalls"] = dict(result.cycles.stalls[symbol])
    return found


def load_measurement(folder: StageFolder) -> dict[str, Any] | None:
    """The document of a finished measurement; ``None`` if there is none."""
    if folder.record() is None:
        return None
    try:
        document = json.loads((folder.path / MEASUREMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
