# SPDX-License-Identifier: Apache-2.0
"""What a runner is asked and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from plinio_deploy.targets.elf import Image

Mode = Literal["outputs", "trace"]

HARNESS = ("bench_main", "measure_stack", "run_steps")
"""Functions of the bench that may call the network (firmware/bench/bench_main.c)."""


@dataclass(frozen=True)
class SymbolRange:
    """Addresses whose instructions count for `name`; several ranges may carry one name (clones of a function)."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class CountRequest:
    """What to count the instructions of.

    Attributes:
        entry: name of the function whose first call is counted.
        ranges: the entry function and the layers. Code in none of them counts for the range that called it.
        harness: what calls the entry function; reaching it ends the count.
        phases: parts of layers, and functions that layers share, by the name of what they do; the first range that
            holds an address decides. They are counted for the current layer, and apart where the runner can.
    """

    entry: str
    ranges: tuple[SymbolRange, ...]
    harness: tuple[SymbolRange, ...]
    phases: tuple[SymbolRange, ...] = ()


@dataclass(frozen=True)
class RunRequest:
    """Samples to run.

    Attributes:
        mode: `outputs`: per sample the packed outputs; `trace`: per sample every step's output tensor, in step order.
        inputs: the samples' packed inputs, back to back.
        samples: how many; at least 1.
        count: what to count the instructions of, in the first inference; `None` for nothing.
        timeout_s: seconds after which the run is ended, at least; more where there are many samples.
    """

    mode: Mode
    inputs: bytes
    samples: int
    count: CountRequest | None = None
    timeout_s: float = 120.0

    @property
    def input_bytes(self) -> int:
        """Bytes of one sample's inputs."""
        return len(self.inputs) // self.samples

    def part(self, start: int, stop: int) -> RunRequest:
        """The request for samples `start` to `stop`; only the one with the first sample counts."""
        size = self.input_bytes
        count = self.count if start == 0 else None
        return RunRequest(self.mode, self.inputs[start * size : stop * size], stop - start, count, self.timeout_s)


@dataclass(frozen=True)
class InstructionCounts:
    """Exact numbers of executed instructions of one inference.

    Attributes:
        total: of the entry function and all it calls.
        by_symbol: per name of the request's ranges; the entry's own share is what it spends between its layers.
        by_phase: per name that has phases, and per phase of it; what is in none is `other`.
    """

    total: int
    by_symbol: Mapping[str, int]
    by_phase: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


CycleSource = Literal["rtl", "model", "board"]
"""Where cycles come from."""

CYCLE_SOURCES: Mapping[CycleSource, str] = MappingProxyType(
    {
        "rtl": "counted in the simulated RTL of the core itself, exact",
        "model": "a model of the core's timing, applied to the instructions that one inference executed",
        "board": "read from a counter of the hardware",
    }
)
"""The sources in words, for reports."""


@dataclass(frozen=True)
class CycleCounts:
    """Clock cycles of one inference.

    Attributes:
        total: of the entry function and all it calls.
        by_symbol: as in `InstructionCounts`.
        source: what counted them.
        conditions: what they hold for: the core's configuration, the memory.
        approximate: whether they come from a model that is partly assumed.
        by_phase: as in `InstructionCounts`.
        stalls: per name what comes on top of one cycle per instruction, by cause, if it is known; what is saved by
            pairing is negative. With the instructions they add up to the cycles.
    """

    total: int
    by_symbol: Mapping[str, int]
    source: CycleSource
    conditions: str
    approximate: bool = False
    by_phase: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stalls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Simulation:
    """What a simulator did in all: clock cycles of the core, and the processor-seconds that they took."""

    cycles: int
    seconds: float

    @property
    def cycles_per_second(self) -> int:
        """Speed of one simulator."""
        return round(self.cycles / max(self.seconds, 1e-6))


@dataclass(frozen=True)
class RunResult:
    """What came back.

    Attributes:
        outputs: of every sample that was run, `sample_bytes` bytes each, as the request's mode says. A slow runner may
            run fewer samples than were asked for, the first ones, but at least one.
        sample_bytes: bytes per sample.
        stack_peak_bytes: stack that the first inference took, below the stack pointer of its caller.
        instructions: of the first inference, if asked for and the runner can count; else `None`.
        tools: versions of what ran it, e.g. `{"qemu": "7.2.22"}`.
        console: what the firmware and the emulator printed.
        cycles: of the first inference, if instructions were asked for and the runner can tell; else `None`.
        simulation: how much was simulated, if a simulator ran.
    """

    outputs: bytes
    sample_bytes: int
    stack_peak_bytes: int
    instructions: InstructionCounts | None = None
    tools: Mapping[str, str] = field(default_factory=dict)
    console: str = ""
    cycles: CycleCounts | None = None
    simulation: Simulation | None = None

    @property
    def samples(self) -> int:
        """How many samples were run."""
        return len(self.outputs) // self.sample_bytes

    def followed_by(self, *others: RunResult) -> RunResult:
        """This result with those of later samples of the same request appended."""
        parts = (self, *others)
        simulated = [part.simulation for part in parts if part.simulation is not None]
        return replace(
            self,
            outputs=b"".join(part.outputs for part in parts),
            console="".join(part.console for part in parts),
            simulation=Simulation(sum(one.cycles for one in simulated), sum(one.seconds for one in simulated))
            if simulated
            else None,
        )


class Runner(Protocol):
    """Executes a bench firmware."""

    name: str

    def run(self, elf: Path, request: RunRequest) -> RunResult:
        """Run the samples of the request: all of them, unless the runner is too slow for that.

        Raises:
            DeviceError: the firmware faulted, hung, or broke the protocol.
        """
        ...


def _phases(image: Image, layers: Sequence[str]) -> tuple[SymbolRange, ...]:
    """What is marked as a phase: from a label to the next or the function's end; and micro-kernels.

    Those are functions that the generator names after the first layer that needs them, `<layer>_<phase>`.
    """
    found = []
    code = [symbol for symbol in image.symbols if symbol.kind == "code"]
    for symbol in code:
        inside = [label for label in image.labels if symbol.address <= label.address < symbol.address + symbol.size]
        ends = [*(label.address for label in inside[1:]), symbol.address + symbol.size]
        found += [
            SymbolRange(label.phase, label.address, end - label.address)
            for label, end in zip(inside, ends, strict=False)
            if end > label.address
        ]
    for layer in layers:
        found += [
            SymbolRange(symbol.stem.removeprefix(f"{layer}_"), symbol.address, symbol.size)
            for symbol in code
            if symbol.stem.startswith(f"{layer}_") and symbol.stem not in layers
        ]
    return tuple(found)


def count_request(image: Image, layers: Iterable[str], *, prefix: str) -> CountRequest:
    """A request to count `<prefix>_run` and its layers.

    Args:
        image: the firmware.
        layers: the layers' functions; those that the linker dropped are left out.
        prefix: of the network's names.

    Raises:
        ValueError: the firmware has no `<prefix>_run`, or no bench.
    """

    def ranges(names: Iterable[str]) -> tuple[SymbolRange, ...]:
        return tuple(
            SymbolRange(name, symbol.address, symbol.size)
            for name in names
            for symbol in image.named(name)
            if symbol.kind == "code"
        )

    entry = f"{prefix}_run"
    entry_ranges = ranges([entry])
    harness = ranges([*HARNESS, f"{prefix}_run_packed", f"{prefix}_step"])
    if not entry_ranges or not harness:
        raise ValueError(f"the firmware has no {entry} that a bench calls")
    symbols = tuple(layers)
    return CountRequest(entry, (*entry_ranges, *ranges(symbols)), harness, _phases(image, symbols))
