# SPDX-License-Identifier: Apache-2.0
"""From a core's RTL and our test bench to an executable: Verilator writes C++, the host's C++ compiler the rest.

A model is made once (10 to 20 s of processor time) and kept in the cache under a digest of all that it is made of: the
core's files, the test bench, Verilator, the flags, the compiler.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.errors import BuildFailed, ToolMissing
from plinio_deploy.targets import cache, toolchains
from plinio_deploy.targets.build import FIRMWARE
from plinio_deploy.targets.rtl import simulator
from plinio_deploy.targets.rtl.cores import CORES, Core
from plinio_deploy.targets.rtl.simulator import Verilator
from plinio_deploy.targets.toolchains import FoundTool

TESTBENCH = FIRMWARE / "rtl"
TIMEOUT_S = 900

_VERILATE = (
    *(
        "--cc",
        "--top-module",
        "soc",
        "--prefix",
        "Vsoc",
        "-O3",
        "--x-assign",
        "fast",
        "--x-initial",
        "fast",
        "--no-assert",
    ),
    # The cores are taken as they are; BLKANDNBLK is an error to Verilator 5.006, on counters that are wired in part.
    *("-Wno-lint", "-Wno-fatal", "-Wno-UNOPTFLAT", "-Wno-CASEINCOMPLETE", "-Wno-BLKANDNBLK", "-Wno-TIMESCALEMOD"),
)
_COMPILE = ("-std=gnu++17", "-w", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0")
_NO_TRACES = ("-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0")
_RUNTIME = ("verilated.cpp", "verilated_dpi.cpp", "verilated_threads.cpp")
_EVALUATION, _REST, _SLOW = "-O3", "-O2", "-O1"
"""Optimization of what runs every cycle, of the run time and test bench, and of what runs once."""


@dataclass(frozen=True)
class Model:
    """An executable core.

    Attributes:
        path: the executable; its options are described in firmware/rtl/testbench.cpp.
        core: the core.
        parameters: of the wrapper.
        tools: versions of all that it was made of.
    """

    path: Path
    core: Core
    parameters: Mapping[str, int]
    tools: Mapping[str, str]


def model(core_name: str, parameters: Mapping[str, int]) -> Model:
    """The executable of a core, made if it is not in the cache.

    Args:
        core_name: a key of `CORES`.
        parameters: of the module `soc` in the core's wrapper; left out ones keep their defaults.

    Raises:
        ToolMissing: the core's package, Verilator or a C++ compiler is not installed.
        BuildFailed: one of them refused the sources.
        OutputError: the cache cannot be written.
    """
    core = CORES[core_name]
    root = core.root()
    verilator = simulator.require()
    compiler = toolchains.require("gxx-host")
    sources = [*core.sources(root), *(TESTBENCH / name for name in core.wrapper)]
    flags = [*_VERILATE, *(f"-D{name}" for name in core.defines)]
    flags += [f"-G{name}={value}" for name, value in sorted(parameters.items())]
    includes = [root / name for name in core.includes]
    digest = _digest(
        [*sources, *_included(includes), TESTBENCH / "testbench.cpp"],
        [core.version, verilator.banner, compiler.banner, *flags, *_COMPILE, *_NO_TRACES, _EVALUATION, _REST, _SLOW],
    )

    def make(scratch: Path) -> Path:
        options = [*flags, *(f"-I{folder}" for folder in includes)]
        _verilate(verilator, core, options, sources, scratch / "cc")
        return _link(compiler.path, verilator.root, _runtime(compiler, verilator), scratch)

    path = cache.file("rtl", f"{core.name}-{digest[:16]}", make)
    return Model(path, core, dict(parameters), {"verilator": verilator.version, core.distribution: core.version})


def _digest(files: Sequence[Path], words: Sequence[str]) -> str:
    state = hashlib.sha256("\0".join(words).encode())
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise ToolMissing(
                "a core's package lacks a file that the model is made of",
                where=str(path),
                hints=("install the version of the package that constraints.txt of plinio-deploy names",),
            ) from error
        state.update(hashlib.sha256(content).digest())
    return state.hexdigest()


def _included(folders: Sequence[Path]) -> list[Path]:
    return sorted(
        path for folder in folders for path in folder.rglob("*") if path.suffix in {".sv", ".svh", ".vh", ".h"}
    )


def _verilate(verilator: Verilator, core: Core, flags: Sequence[str], sources: Sequence[Path], folder: Path) -> None:
    command = [verilator.path, *flags, "--Mdir", str(folder), *map(str, sources)]
    _check(f"Verilator refused {core.title}", command, {**os.environ, "VERILATOR_ROOT": str(verilator.root)})


def _runtime(compiler: FoundTool, verilator: Verilator) -> Path:
    """Verilator's run-time library as one object, the same for every model; made if it is not in the cache."""
    sources = [verilator.root / "include" / name for name in _RUNTIME]
    digest = _digest(
        [*sources, *_included([verilator.root / "include"])], [compiler.banner, *_COMPILE, *_NO_TRACES, _REST]
    )

    def make(scratch: Path) -> Path:
        objects = _compile(compiler.path, verilator.root, [(source, _REST) for source in sources], scratch)
        made = scratch / "runtime.o"
        _check(
            "Verilator's run time could not be linked", [compiler.path, "-r", "-nostdlib", "-o", str(made), *objects]
        )
        return made

    return cache.file("rtl", f"runtime-{digest[:16]}.o", make)


def _link(compiler: str, root: Path, runtime: Path, scratch: Path) -> Path:
    """Compile and link what Verilator wrote into `scratch/cc`, without its makefiles, and strip the result."""
    generated = scratch / "cc"
    jobs = [(path, _SLOW if path.stem.endswith("Slow") else _EVALUATION) for path in sorted(generated.glob("*.cpp"))]
    jobs.sort(
        key=lambda job: job[0].stat().st_size, reverse=True
    )  # the longest first, so that all workers end together
    objects = _compile(compiler, root, [*jobs, (TESTBENCH / "testbench.cpp", _REST)], scratch)
    made = scratch / "model"
    _check("the model could not be linked", [compiler, "-s", "-o", str(made), *objects, str(runtime), "-pthread"])
    return made


def _compile(compiler: str, root: Path, jobs: Sequence[tuple[Path, str]], scratch: Path) -> list[str]:
    """Compile (source, optimization) pairs into `scratch`, as many at a time as there are processors."""
    folders = [f"-I{path}" for path in (scratch / "cc", root / "include", root / "include/vltstd")]

    def compile_one(job: tuple[Path, str]) -> str:
        source, level = job
        made = str(scratch / f"{source.stem}.o")
        command = [compiler, *_COMPILE, *_NO_TRACES, *folders, level, "-c", str(source), "-o", made]
        _check(f"the C++ compiler refused {source.name}", command)
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, jobs))


def _check(what: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{what}: it did not end within {TIMEOUT_S} s", where=command[0]) from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if not line.startswith("%Warning")]
        raise BuildFailed(what, where=command[0], got="\n" + "\n".join(f"    {line}" for line in lines[:12]))
