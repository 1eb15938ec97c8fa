# SPDX-License-Identifier: Apache-2.0
"""Runs the bench on the RTL of a real core: the same firmware as in QEMU, and every cycle counted.

A simulator does a few million cycles per second, so a request may be answered in part: after the first sample, whose
cycles are then known, only as many are run as fit a budget of cycles.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from plinio_deploy.errors import UsageError
from plinio_deploy.targets import elf as elf_file
from plinio_deploy.targets.rtl import simulator
from plinio_deploy.targets.rtl.cores import CORES
from plinio_deploy.targets.rtl.model import model
from plinio_deploy.targets.runners import process, ranges, window, wire
from plinio_deploy.targets.runners.base import (
    CountRequest,
    CycleCounts,
    InstructionCounts,
    RunRequest,
    RunResult,
    Simulation,
)
from plinio_deploy.targets.schema import Memory, Region, Rtl, Target

CYCLE_BUDGET = 40_000_000
"""Cycles that one request may take: 5 to 25 s of simulation on one processor."""

CYCLE_LIMIT = 1_000_000_000
"""Cycles after which a sample counts as hung."""

WALL_LIMIT_S = 3600.0
"""Seconds after which a simulation is ended whatever it does; the limit on cycles comes first."""

WORTH_SPLITTING = 10_000_000
"""Cycles that are spread over the machine's processors."""


@dataclass(frozen=True)
class Simulated:
    """A program that ended.

    Attributes:
        code: its exit status, or one of the test bench: 20 after a fault, 124 after the limit on cycles.
        console: what it printed.
        simulation: how much was simulated, from reset to end.
        instructions: of the first call of the entry function, if asked for and it returned.
        cycles: of the same.
        tools: versions of all that took part.
    """

    code: int
    console: str
    simulation: Simulation
    instructions: InstructionCounts | None
    cycles: CycleCounts | None
    tools: Mapping[str, str]


class RtlRunner:
    """One target's core."""

    name = "rtl"

    def __init__(self, target: Target, *, cycle_budget: int = CYCLE_BUDGET, cycle_limit: int = CYCLE_LIMIT) -> None:
        """Look for all that the model is made of; it is made at the first run.

        Args:
            target: what to simulate.
            cycle_budget: cycles that a request may take; at least its first sample is run.
            cycle_limit: cycles after which a sample counts as hung.

        Raises:
            ToolMissing: the core's package or Verilator is not installed.
            UsageError: the target has no `[rtl]` table.
        """
        if target.rtl is None or target.memory is None or target.memory.window is None:
            raise UsageError(f"{target.name} names no RTL core", where=target.source)
        self._rtl: Rtl = target.rtl
        self._memory: Memory = target.memory
        self._window: Region = target.memory.window
        self._budget = cycle_budget
        self._limit = cycle_limit
        simulator.require()
        CORES[self._rtl.core].root()

    @property
    def conditions(self) -> str:
        """What a number of cycles holds for: the core's configuration and the memory."""
        parameters = ", ".join(f"{name}={value}" for name, value in sorted(self._rtl.parameters.items()))
        core = CORES[self._rtl.core].title + (f" ({parameters})" if parameters else "")
        waits = f"{self._rtl.fetch_wait} wait states on instructions, {self._rtl.data_wait} on data"
        return f"{core}; single-cycle SRAM with {waits}; no caches"

    def run(self, elf: Path, request: RunRequest) -> RunResult:
        """Run the request's samples, or the first of them that fit the budget; see `base.Runner`."""
        first, cycles = self._run_part(elf, request.part(0, 1), self._limit)
        samples = min(request.samples, 1 + max(0, self._budget - cycles) // cycles)
        if samples == 1:
            return first
        workers = min(os.cpu_count() or 1, samples - 1, 1 + (samples - 1) * cycles // WORTH_SPLITTING)
        bounds = [1 + (samples - 1) * index // workers for index in range(workers + 1)]
        parts = [request.part(start, stop) for start, stop in pairwise(bounds)]
        with ThreadPoolExecutor(workers) as pool:
            # The first sample took as long as any other and the start code, so twice that is a hang.
            rest = pool.map(lambda part: self._run_part(elf, part, 2 * cycles * part.samples)[0], parts)
            return first.followed_by(*rest)

    def simulate(
        self, elf: Path, folder: Path, *, count: CountRequest | None = None, cycle_limit: int = CYCLE_LIMIT
    ) -> Simulated:
        """Run any program for this target, a bench or not, until it writes to the exit device.

        Args:
            elf: the program.
            folder: where memory lies as files: a file `window` in it becomes the memory window, and afterwards holds
                what the program left there; without one the window is empty.
            count: what to count, if anything.
            cycle_limit: cycles after which the run is ended.

        Raises:
            ToolMissing, BuildFailed, OutputError: the model could not be made, see `targets.rtl.model.model`.
        """
        made = model(self._rtl.core, self._rtl.parameters)
        command = [str(made.path), "--result", "result", "--max-cycles", str(cycle_limit)]
        command += ["--fetch-wait", str(self._rtl.fetch_wait), "--data-wait", str(self._rtl.data_wait)]
        if count is not None:
            ranges.write(folder / "ranges", count)
            command += ["--ranges", "ranges"]
        command += self._lay_out_memory(elf, folder)
        ended = process.run(command, folder, RunRequest("outputs", b"", 1, timeout_s=WALL_LIMIT_S))
        if not (folder / "result").exists():
            raise wire.exit_failure(ended.code, ended.console, elf_file.read(elf))
        found = _read_result(folder / "result")
        instructions, cycles = None, None
        if count is not None and found.finished:
            executed, taken = (ranges.by_symbol(counts, count) for counts in (found.instructions, found.cycles))
            instructions = InstructionCounts(sum(executed.values()), executed)
            cycles = CycleCounts(sum(taken.values()), taken, "rtl", self.conditions)
        return Simulated(ended.code, ended.console, found.simulation, instructions, cycles, made.tools)

    def _run_part(self, elf: Path, request: RunRequest, limit: int) -> tuple[RunResult, int]:
        """Start the simulator once, or as often as it takes to get the response into the memory window.

        Returns:
            The result, and the cycles from reset to end.
        """
        with process.scratch() as folder:
            window.fill(folder / "window", self._window.size, 0, self._window.size, wire.encode(request))
            ended = self.simulate(elf, folder, count=request.count, cycle_limit=limit)
            if ended.code == wire.EXIT_NO_ROOM and request.samples > 1:
                middle = request.samples // 2
                first, cycles = self._run_part(elf, request.part(0, middle), limit)
                second, more = self._run_part(elf, request.part(middle, request.samples), limit)
                return first.followed_by(second), cycles + more
            if ended.code != 0:
                raise wire.exit_failure(ended.code, ended.console, elf_file.read(elf))
            response = wire.decode(window.read(folder / "window", 0), request, console=ended.console)
        if request.count is not None and ended.cycles is None:
            raise ranges.incomplete(request.count, console=ended.console)
        result = RunResult(
            response.outputs,
            response.sample_bytes,
            response.stack_peak_bytes,
            ended.instructions,
            ended.tools,
            ended.console,
            ended.cycles,
            ended.simulation,
        )
        return result, ended.simulation.cycles

    def _lay_out_memory(self, elf: Path, folder: Path) -> list[str]:
        """Write the files that become memory; returns the options that say where they lie."""
        flash = self._memory.flash
        with (folder / "flash").open("wb") as stream:
            stream.truncate(flash.size)
            for address, content in elf_file.segments(elf):
                stream.seek(address - flash.base)
                stream.write(content)
        for name, region in (("ram", self._memory.ram), ("window", self._window)):
            with (folder / name).open("ab") as stream:
                stream.truncate(region.size)
        places = (("flash", flash, "ro"), ("ram", self._memory.ram, "rw"), ("window", self._window, "rw"))
        return [word for name, region, access in places for word in ("--memory", hex(region.base), name, access)]


@dataclass(frozen=True)
class _Found:
    """What the test bench wrote down: totals of the run, and per identifier what the first inference took."""

    simulation: Simulation
    finished: int
    instructions: Mapping[int, int]
    cycles: Mapping[int, int]


def _read_result(path: Path) -> _Found:
    lines = [line.split() for line in path.read_text().splitlines()]
    facts = {words[0]: words[1] for words in lines if len(words) == 2}
    counts = [[int(word) for word in words] for words in lines if len(words) == 3]
    return _Found(
        Simulation(int(facts["cycles"]), float(facts["seconds"])),
        int(facts["finished"]),
        {identifier: instructions for identifier, instructions, _ in counts},
        {identifier: cycles for identifier, _, cycles in counts},
    )
