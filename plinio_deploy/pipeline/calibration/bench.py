# SPDX-License-Identifier: Apache-2.0
"""Runs layers on a target, many to one firmware, and keeps what was measured: the same firmware is never run twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plinio_deploy.artifact import Artifact
from plinio_deploy.codegen import Manifest, Options, generate
from plinio_deploy.codegen.lower import lower
from plinio_deploy.codegen.manifest import FILE
from plinio_deploy.console import Terminal
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Network
from plinio_deploy.packing import pack
from plinio_deploy.pipeline.build import Project
from plinio_deploy.pipeline.calibration.micro import Builder, Spec
from plinio_deploy.pipeline.stage import digest_json, package_digest
from plinio_deploy.targets import build as builder
from plinio_deploy.targets import cache, elf, runners, toolchains
from plinio_deploy.targets.runners.base import RunRequest, RunResult, count_request
from plinio_deploy.targets.schema import Memory, Region, Target

LAYERS_PER_FIRMWARE = 48
BYTES_PER_FIRMWARE = 1 << 19

_CODE = ("targets/runners", "targets/rtl", "targets/timing", "firmware")
"""What a count depends on besides the firmware's own sources."""

ROOM: Mapping[str, tuple[int, int]] = {
    "mps2-an385": (1 << 22, 1 << 22),
    "mps2-an386": (1 << 22, 1 << 22),
    "mps2-an500": (1 << 22, 1 << 22),
    "mps2-an505": (1 << 22, 1 << 22),
}
"""Bytes of flash and RAM of QEMU's machines, where they are more than those of the target."""


@dataclass(frozen=True)
class Counted:
    """What one layer took.

    Attributes:
        name: of the op.
        kernel: that executed it.
        instructions: of one call.
        cycles: of one call; None where the runner cannot tell.
    """

    name: str
    kernel: str
    instructions: int
    cycles: int | None


@dataclass(frozen=True)
class Run:
    """What one network took.

    Attributes:
        layers: in execution order.
        instructions: in all, calls between layers included.
        cycles: likewise; None where the runner cannot tell.
        source: of the cycles.
        conditions: of the cycles.
        tools: versions of what took part.
    """

    layers: tuple[Counted, ...]
    instructions: int
    cycles: int | None
    source: str | None
    conditions: str | None
    tools: Mapping[str, str]


def roomy(target: Target) -> Target:
    """The target with all the memory that its emulator has, so that many layers fit one firmware.

    Memory has no influence on the counts. A Cortex-M0's machine is tiny; its code runs unchanged on a Cortex-M3, which
    executes the same instructions.
    """
    memory, qemu = target.memory, target.qemu
    if memory is None:
        return target
    if qemu is not None and qemu.machine == "microbit":
        qemu = qemu.model_copy(update={"machine": "mps2-an385", "cpu": "cortex-m3"})
    if memory.window is not None:
        half = (memory.window.base - memory.flash.base) // 2
        flash, ram = Region(base=memory.flash.base, size=half), Region(base=memory.flash.base + half, size=half)
    elif qemu is not None and qemu.machine in ROOM:
        sizes = ROOM[qemu.machine]
        flash, ram = Region(base=memory.flash.base, size=sizes[0]), Region(base=memory.ram.base, size=sizes[1])
    else:
        flash, ram = memory.flash, memory.ram
    roomier = Memory(flash=flash, ram=ram, stack=8192, window=memory.window)
    # Two layers of one shape would become one function: GCC folds identical ones, and the second is then not measured.
    flags = (*target.flags, "-fno-ipa-icf")
    return target.model_copy(update={"memory": roomier, "qemu": qemu, "flags": flags})


def options(target: Target) -> Options:
    """What the code generator may use on the target."""
    return Options(isa=target.features)


def layer_networks(specs: Sequence[Spec], name: str) -> list[Network]:
    """Independent layers, packed into networks of a firmware each; layer ``i`` is called ``<name><i>``."""
    found: list[Network] = []
    first = 0
    while first < len(specs):
        built, nbytes, index, last = Builder(name, first), 0, first, ""
        while index < len(specs) and index - first < LAYERS_PER_FIRMWARE and nbytes < BYTES_PER_FIRMWARE:
            out = built.add(specs[index], f"{name}{index}")
            nbytes += specs[index].cin * specs[index].size[0] * specs[index].size[1] + out.nbytes
            index, last = index + 1, out.name
        found.append(built.build([last]))
        first = index
    return found


def run_all(networks: Sequence[Network], target: Target, terminal: Terminal, title: str = "measure") -> list[Run]:
    """Run networks on the target, as many at a time as there are processors.

    Args:
        networks: what to run.
        target: where.
        terminal: told what goes on.
        title: for the progress.

    Raises:
        ToolMissing, BuildFailed, DoesNotFit, DeviceError: see `plinio_deploy.targets`.
    """
    roomier = roomy(target)
    done = 0
    with (
        terminal.progress(title, len(networks)) as advance,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        results = []
        for result in pool.map(lambda network: run(network, roomier), networks):
            done += 1
            advance(done, f"{len(result.layers)} layers")
            results.append(result)
    return results


def run(network: Network, target: Target) -> Run:
    """One inference of a network on random codes; from the cache if this very firmware was run before."""
    artifact = generate(network, options(target))
    runner = runners.for_target(target)
    if runner.name == "host":
        raise UsageError(
            "the host counts neither cycles nor instructions, so there is nothing to calibrate",
            got=target.name,
            hints=("Calibrate a target that QEMU or an RTL model runs: plinio-deploy targets list",),
        )
    compiler = toolchains.require(target.toolchain)
    key = [_code_digest(artifact), target.model_dump(mode="json"), compiler.banner, package_digest(*_code())]
    path = cache.file("calibration", f"{digest_json(key)}.json", lambda work: _write(work, artifact, network, target))
    return _read(json.loads(path.read_text(encoding="utf-8")), Manifest.parse(artifact.files[FILE]))


def _code() -> list[str]:
    root = Path(builder.__file__).resolve().parent.parent
    return [name for name in _CODE if (root / name).exists()]


def _write(work: Path, artifact: Artifact, network: Network, target: Target) -> Path:
    manifest = Manifest.parse(artifact.files[FILE])
    built = builder.build(artifact, Project(artifact, manifest).inputs, target, work / "build")
    symbols = [step.symbol for step in manifest.steps]
    count = count_request(elf.read(built.elf), symbols, prefix=manifest.prefix)
    request = RunRequest("outputs", random_sample(network), 1, count, timeout_s=600.0)
    result = runners.for_target(target).run(built.elf, request)
    path = work / "result.json"
    path.write_text(json.dumps(_document(manifest, result, {**built.tools, **result.tools})), encoding="utf-8")
    return path


def random_sample(network: Network) -> bytes:
    """Packed random codes for all inputs of a network, the same every time."""
    rng = np.random.default_rng(0)
    return b"".join(
        pack(tensor, rng.integers(tensor.qmin, tensor.qmax + 1, size=(1, *tensor.shape)))
        for tensor in network.input_tensors()
    )


def _document(manifest: Manifest, result: RunResult, tools: Mapping[str, str]) -> dict[str, Any]:
    instructions, cycles = result.instructions, result.cycles
    assert instructions is not None
    return {
        "steps": [
            [instructions.by_symbol[step.symbol], None if cycles is None else cycles.by_symbol[step.symbol]]
            for step in manifest.steps
        ],
        "instructions": instructions.total,
        "cycles": None if cycles is None else cycles.total,
        "source": None if cycles is None else cycles.source,
        "conditions": None if cycles is None else cycles.conditions,
        "tools": dict(tools),
    }


def _read(document: Mapping[str, Any], manifest: Manifest) -> Run:
    counted = zip(manifest.steps, document["steps"], strict=True)
    layers = tuple(Counted(step.layer, step.kernel, *counts) for step, counts in counted)
    return Run(layers, *(document[key] for key in ("instructions", "cycles", "source", "conditions", "tools")))


def kernels_of(networks: Sequence[Network], target: Target) -> dict[str, str]:
    """Which kernel the code generator chooses for each op, by name."""
    steps = (step for network in networks for step in lower(network, "net", frozenset(target.features)).steps)
    return {step.site.op.name: step.kernel.name for step in steps}


def digest(networks: Sequence[Network], target: Target) -> str:
    """Digest of the code that is generated for networks: changes when a kernel does."""
    return digest_json([_code_digest(generate(network, options(target))) for network in networks])[:16]


def _code_digest(artifact: Artifact) -> str:
    """Digest of all files but the manifest: nothing of it is executed."""
    return Artifact({name: data for name, data in artifact.files.items() if name != FILE}).digest()
