# SPDX-License-Identifier: Apache-2.0
"""CoreMark on our RTL models, against the figures that lowRISC publishes for Ibex: is the test bench's timing right?

The sources of CoreMark and the published figures both lie in the Python package of the Ibex core; nothing of them is
part of this project. Flags are those of lowRISC's own makefile, the instruction set the one that its README calls best.

    python benchmarks/coremark_ibex.py [--json]

Ends with status 1 if a figure is more than 1.5 % off.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from plinio_deploy.errors import BuildFailed, DeviceError, PlinioDeployError
from plinio_deploy.targets import registry, toolchains
from plinio_deploy.targets.build import FIRMWARE, memory_options
from plinio_deploy.targets.rtl.cores import CORES
from plinio_deploy.targets.runners.rtl import RtlRunner

ITERATIONS = 10
TOLERANCE = 0.015
PORT = Path(__file__).resolve().parent / "coremark"

PUBLISHED = {"ibex": "maxperf", "ibex-small": "small"}
"""Which column of the table in Ibex's README speaks of which of our targets."""

UNPUBLISHED = ("cv32e40p",)
"""Cores without a figure at hand; run for comparison."""

SOURCES = ("core_list_join.c", "core_main.c", "core_matrix.c", "core_state.c", "core_util.c")
FLAGS = (
    *("-march=rv32im", "-mabi=ilp32", "-misa-spec=2.2", "-mcmodel=medlow", "-mtune=sifive-3-series", "-mstrict-align"),
    *("-O3", "-falign-functions=16", "-funroll-all-loops", "-finline-functions", "-falign-jumps=4", "-w"),
    *("-ffreestanding", "-nostdlib", "-static", "-DTOTAL_DATA_SIZE=2000", "-DPERFORMANCE_RUN=1"),
)


@dataclass(frozen=True)
class Score:
    """One core's result.

    Attributes:
        target: ours.
        cycles: of all iterations, from the core's mcycle.
        instructions: from its minstret.
        score: iterations per second and MHz.
        published: the same, by lowRISC; `None` if there is no figure.
        cycles_per_second: how fast it was simulated.
    """

    target: str
    cycles: int
    instructions: int
    score: float
    published: float | None
    cycles_per_second: int

    @property
    def error(self) -> float | None:
        """Relative distance from the published figure."""
        return None if self.published is None else self.score / self.published - 1


def published(config: str) -> float:
    """CoreMark/MHz of a configuration, from the table in the README of the installed package."""
    text = (CORES["ibex"].root() / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip(' "') for cell in line.strip("| ").split("|")] for line in text.splitlines() if "|" in line]
    names = next(row for row in rows if row[0] == "Config")
    figures = next(row for row in rows if row[0].startswith("Performance (CoreMark/MHz)"))
    return float(figures[names.index(config)])


def build(folder: Path) -> Path:
    """Compile CoreMark for the memory map of our RISC-V targets; one ELF file for every core."""
    memory = registry.load("ibex").memory
    assert memory is not None
    assert memory.window is not None
    root = CORES["ibex"].root() / "vendor" / "eembc_coremark"
    riscv = FIRMWARE / "ports" / "riscv"
    (folder / "bench_config.h").write_text(f"#define BENCH_WINDOW_BASE {memory.window.base:#x}u\n")
    command = [toolchains.require("gcc-riscv").path, *FLAGS, f"-DITERATIONS={ITERATIONS}"]
    command += [f"-I{path}" for path in (PORT, root, folder, FIRMWARE / "bench")]
    command += ["-isystem", str(FIRMWARE / "runtime" / "include")]
    command += [str(root / name) for name in SOURCES]
    command += [str(path) for path in (PORT / "core_portme.c", riscv / "port.c", riscv / "crt0.S")]
    command += [str(FIRMWARE / "runtime" / "memory.c"), "-fno-tree-loop-distribute-patterns"]
    command += memory_options(memory)
    elf = folder / "coremark.elf"
    command += ["-Wl,--gc-sections", "-Wl,--no-check-sections", "-T", str(riscv / "link.ld"), "-lgcc", "-o", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildFailed("CoreMark could not be built", got="\n" + done.stderr[:2000])
    return elf


def run(target: str) -> Score:
    """Run CoreMark on a target's core."""
    with tempfile.TemporaryDirectory(prefix="plinio-deploy-") as name:
        folder = Path(name)
        elf = build(folder)
        ended = RtlRunner(registry.load(target)).simulate(elf, folder)
    counted = re.search(r"cycles=([0-9a-f]{8}) instructions=([0-9a-f]{8})", ended.console)
    if ended.code != 0 or counted is None or "Correct operation validated" not in ended.console:
        raise DeviceError(f"CoreMark failed on {target}", got=f"status {ended.code}\n{ended.console}")
    cycles, instructions = (int(digits, 16) for digits in counted.groups())
    figure = published(PUBLISHED[target]) if target in PUBLISHED else None
    score = ITERATIONS * 1e6 / cycles
    return Score(target, cycles, instructions, score, figure, ended.simulation.cycles_per_second)


def main() -> int:
    """Run every core and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    as_json = parser.parse_args().json
    try:
        scores = [run(target) for target in (*PUBLISHED, *UNPUBLISHED)]
    except PlinioDeployError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    far = [score for score in scores if score.error is not None and abs(score.error) > TOLERANCE]
    if as_json:
        rows = [{**asdict(score), "error": score.error} for score in scores]
        print(json.dumps({"tolerance": TOLERANCE, "iterations": ITERATIONS, "ok": not far, "scores": rows}, indent=2))
    else:
        print("target        CoreMark/MHz  published   error      cycles  instructions  simulated cycles/s")
        for score in scores:
            figure = "-" if score.published is None else f"{score.published:.2f}"
            distance = "-" if score.error is None else f"{score.error:+.2%}"
            print(
                f"{score.target:12}  {score.score:12.3f}  {figure:>9}  {distance:>6}  {score.cycles:>10,}"
                f"  {score.instructions:>12,}  {score.cycles_per_second:>18,}"
            )
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
