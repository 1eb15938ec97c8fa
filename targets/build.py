# SPDX-License-Identifier: Apache-2.0
"""Generated C plus the bench firmware, compiled and linked for a target.

The same sources, target and compiler give the same ELF file, byte for byte, in any folder.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.artifact import Artifact, write_atomically
from plinio_deploy.errors import BuildFailed
from plinio_deploy.targets import fit, toolchains
from plinio_deploy.targets.elf import Image, Symbol
from plinio_deploy.targets.elf import read as read_elf
from plinio_deploy.targets.schema import Memory, Target

FIRMWARE = Path(__file__).resolve().parent.parent / "firmware"
"""The C sources: beside `targets` in a checkout and in an installed package."""

LANGUAGE = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
"""What generated sources must pass."""

OPTIMIZATION = ("-O2", "-ffunction-sections", "-fdata-sections", "-fno-common")
COMPILE_TIMEOUT_S = 300


@dataclass(frozen=True)
class Layer:
    """A step of the network, as far as a build report needs it.

    Attributes:
        name: the layer's name in the network.
        symbol: its function in the generated C.
        weights_bytes: bytes of its constants.
        live_bytes: bytes of the arena that hold live tensors while it runs.
        functions: static functions of its own.
    """

    name: str
    symbol: str
    weights_bytes: int
    live_bytes: int = 0
    functions: tuple[str, ...] = ()

    def code_bytes(self, image: Image) -> int:
        """Bytes of its functions in a firmware, without what it may share with other layers."""
        return sum(found.size for name in (self.symbol, *self.functions) for found in image.named(name))


@dataclass(frozen=True)
class BuildInputs:
    """Which files of an artifact to compile, and what they hold.

    Attributes:
        prefix: of all external names, e.g. `net`.
        sources: C files of the library.
        trace_sources: C files with the step table and `<prefix>_run_packed`.
        layers: the steps, in order.
        arena_bytes: size of the arena, for messages.
    """

    prefix: str
    sources: tuple[str, ...]
    trace_sources: tuple[str, ...]
    layers: tuple[Layer, ...] = ()
    arena_bytes: int = 0


@dataclass(frozen=True)
class BuildResult:
    """A firmware.

    Attributes:
        elf: path of the ELF file (on the host: of the program).
        binary: raw image of flash; `None` on the host.
        hexfile: the same as Intel HEX; `None` on the host.
        image: sections and symbols.
        tools: versions, `{"gcc": "12.2.1"}`.
        network_code_bytes: machine code of the network, without the bench and library helpers.
        network_constant_bytes: weights, biases, multipliers and tables of the network.
    """

    elf: Path
    binary: Path | None
    hexfile: Path | None
    image: Image
    tools: Mapping[str, str]
    network_code_bytes: int
    network_constant_bytes: int


def build(artifact: Artifact, inputs: BuildInputs, target: Target, folder: Path) -> BuildResult:
    """Compile and link the bench firmware around a generated network.

    Args:
        artifact: the generated C project.
        inputs: which of its files to compile.
        target: what to build for.
        folder: where sources, objects and the ELF file go; created if need be.

    Raises:
        ToolMissing: the compiler is not installed.
        BuildFailed: the compiler or linker refused; its first lines are in the message.
        DoesNotFit: the firmware is larger than the target's flash or RAM.
        OutputError: the folder cannot be written.
    """
    compiler = toolchains.require(target.toolchain)
    artifact.write(folder / "src")
    write_atomically(folder / "src" / "bench_config.h", _bench_config(inputs, target).encode())
    (folder / "obj").mkdir(exist_ok=True)
    jobs = [_Compilation(folder / "src" / name, generated=True) for name in (*inputs.sources, *inputs.trace_sources)]
    jobs += [_Compilation(path, generated=False) for path in _firmware_sources(target)]
    names = [f"{index:02d}_{job.source.stem}.o" for index, job in enumerate(jobs)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda pair: _compile(compiler.path, target, folder, *pair), zip(jobs, names, strict=True)))
    output = folder / ("bench.elf" if target.memory else "bench")
    objects = [f"obj/{name}" for name in names]
    done = _run(_link_command(compiler.path, target, objects, output.name, target.memory), folder)
    if done.returncode != 0:
        if target.memory and fit.overflowed(done.stderr):
            raise _does_not_fit(compiler.path, target, objects, folder, inputs)
        raise _failed("the linker refused the firmware", done, target)
    binary = hexfile = None
    if target.memory:
        binary, hexfile = _flash_images(compiler.path, output)
    image = read_elf(output)
    network = tuple(network_symbols(image, inputs))
    return BuildResult(
        elf=output,
        binary=binary,
        hexfile=hexfile,
        image=image,
        tools={"gcc": compiler.version},
        network_code_bytes=sum(symbol.size for symbol in network if symbol.kind == "code"),
        network_constant_bytes=sum(symbol.size for symbol in network if symbol.kind == "constant"),
    )


def network_symbols(image: Image, inputs: BuildInputs) -> tuple[Symbol, ...]:
    """The symbols of the network itself: neither the bench nor what only traces need."""
    trace = (f"{inputs.prefix}_{name}" for name in ("steps", "step", "run_packed"))
    files = {Path(name).name for name in inputs.sources}
    return tuple(image.of_sources(inputs.prefix, files, without=trace))


@dataclass(frozen=True)
class _Compilation:
    source: Path
    generated: bool


def _firmware_sources(target: Target) -> list[Path]:
    """The bench, the target family's port, and the runtime that stands in for a C library."""
    port = FIRMWARE / "ports" / target.family
    sources = [FIRMWARE / "bench" / "bench_main.c", *sorted([*port.glob("*.c"), *port.glob("*.S")])]
    if target.memory:
        sources.append(FIRMWARE / "runtime" / "memory.c")
    return sources


def _bench_config(inputs: BuildInputs, target: Target) -> str:
    """The header through which the bench knows the network and the target."""
    prefix, macro = inputs.prefix, inputs.prefix.upper()
    window = target.memory.window if target.memory else None
    lines = [
        "/* Written by the builder: what the bench runs, and where. */",
        "#ifndef PLINIO_BENCH_CONFIG_H",
        "#define PLINIO_BENCH_CONFIG_H",
        "",
        f'#include "{prefix}.h"',
        f'#include "{prefix}_trace.h"',
        "",
        f"#define BENCH_ARENA_BYTES {macro}_ARENA_BYTES",
        f"#define BENCH_INPUT_BYTES {macro}_INPUT_BYTES",
        f"#define BENCH_OUTPUT_BYTES {macro}_OUTPUT_BYTES",
        f"#define BENCH_STEP_COUNT {macro}_STEPS",
        f"#define BENCH_STEPS {prefix}_steps",
        f"#define BENCH_STEP {prefix}_step",
        f"#define BENCH_RUN {prefix}_run_packed",
    ]
    if window is not None:
        lines.append(f"#define BENCH_WINDOW_BASE {window.base:#x}u")
    return "\n".join([*lines, "", "#endif", ""])


def _compile(compiler: str, target: Target, folder: Path, job: _Compilation, name: str) -> None:
    """Compile one file into `folder/obj/name`; paths in the command are relative, so that none gets into the object."""
    command = [compiler, *target.flags, *OPTIMIZATION, f"-ffile-prefix-map={FIRMWARE}=firmware"]
    if job.source.suffix == ".c":
        command += LANGUAGE
    if job.generated:
        source = str(job.source.relative_to(folder))
    else:
        # The stack is measured from the bench's frame, which must be set up before the paint goes on; and memory.c must
        # not be compiled into calls of itself.
        command += ["-fno-shrink-wrap", "-fno-builtin", "-fno-tree-loop-distribute-patterns"]
        source = str(job.source)
    if target.memory:
        command += ["-ffreestanding", *(["-fbuiltin"] if job.generated else [])]
        command += ["-isystem", str(FIRMWARE / "runtime" / "include")]
    command += ["-Isrc", f"-I{FIRMWARE / 'bench'}", "-c", source, "-o", f"obj/{name}"]
    done = _run(command, folder)
    if done.returncode != 0:
        raise _failed(f"the compiler refused {job.source.name}", done, target)


def memory_options(memory: Memory) -> list[str]:
    """Options of the linker that tell our linker scripts where memories begin and how large they are."""
    numbers = {
        "__flash_origin": memory.flash.base,
        "__flash_size": memory.flash.size,
        "__ram_origin": memory.ram.base,
        "__ram_size": memory.ram.size,
        "__stack_size": memory.stack,
    }
    return [f"-Wl,--defsym={name}={value:#x}" for name, value in numbers.items()]


def _link_command(
    compiler: str, target: Target, objects: Sequence[str], output: str, memory: Memory | None
) -> list[str]:
    command = [compiler, *target.flags, *OPTIMIZATION, "-Wl,--gc-sections", "-Wl,--build-id=none"]
    if memory is None:
        return [*command, *objects, "-lpthread", "-o", output]
    command += ["-nostdlib", "-static", "-Wl,--strip-debug", "-Wl,--no-check-sections"]
    command += memory_options(memory)
    return [*command, "-T", str(FIRMWARE / "ports" / target.family / "link.ld"), *objects, "-lgcc", "-o", output]


def _does_not_fit(
    compiler: str, target: Target, objects: Sequence[str], folder: Path, inputs: BuildInputs
) -> Exception:
    """Link once more into memory without bounds, to say exactly how much is needed and what takes it."""
    assert target.memory is not None
    output = folder / "too_large.elf"
    roomy = fit.without_bounds(target.memory)
    done = _run(_link_command(compiler, target, objects, output.name, roomy), folder)
    if done.returncode != 0:
        return _failed("the linker refused the firmware", done, target)
    image = read_elf(output)
    output.unlink()
    layers = [
        fit.LayerSize(
            layer.name,
            layer.weights_bytes,
            layer.code_bytes(image),
            layer.live_bytes,
        )
        for layer in inputs.layers
    ]
    return fit.error(target, target.memory, image, layers, inputs.arena_bytes)


def _flash_images(compiler: str, output: Path) -> tuple[Path, Path]:
    objcopy = _run([compiler, "-print-prog-name=objcopy"], output.parent).stdout.strip()
    paths = output.with_suffix(".bin"), output.with_suffix(".hex")
    for path, form in zip(paths, ("binary", "ihex"), strict=True):
        done = _run([objcopy, "-O", form, output.name, path.name], output.parent)
        if done.returncode != 0:
            raise BuildFailed(f"objcopy could not make {path.name}", got=_first_lines(done.stderr))
    return paths


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{command[0]} did not end within {COMPILE_TIMEOUT_S} s", where=str(folder)) from error


def _failed(what: str, done: subprocess.CompletedProcess[str], target: Target) -> BuildFailed:
    return BuildFailed(
        f"{what} for {target.name}",
        where=f"toolchain {target.toolchain}, flags {' '.join(target.flags)}",
        got="\n" + _first_lines(done.stderr),
        hints=(
            "if a generated file is named, it is a mistake of ours: please report it with the network",
            f"if a flag is named, correct it in {target.source}",
        ),
    )


def _first_lines(text: str, count: int = 12) -> str:
    lines = text.strip().splitlines()
    more = [f"... and {len(lines) - count} lines more"] if len(lines) > count else []
    return "\n".join(f"    {line}" for line in [*lines[:count], *more])
