# SPDX-License-Identifier: Apache-2.0
"""Generated projects as host code: compiled in one go, loaded through ctypes, compared tensor by tensor."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.artifact import Artifact
from plinio_deploy.codegen import Manifest, Options, Schedule, Vectors, generate
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.manifest import CallEntry
from plinio_deploy.network import Network
from tests.networks import packed_samples, random_inputs, reference

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
GUARD = 64
FILLER = 0xA5


def gcc() -> str:
    """The host's compiler."""
    return os.environ.get("PLINIO_DEPLOY_GCC_HOST", "gcc")


def compile_c(command: Sequence[str]) -> None:
    """Run a compiler; its messages are the failure."""
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:4000]


@dataclass(frozen=True)
class Case:
    """A network, its project, and what the interpreter says about some samples."""

    network: Network
    artifact: Artifact
    manifest: Manifest
    inputs: list[bytes]
    expected: dict[str, list[bytes]]

    @property
    def outputs(self) -> list[bytes]:
        """All outputs of each sample, back to back."""
        return [
            b"".join(self.expected[name][sample] for name in self.network.outputs) for sample in range(len(self.inputs))
        ]

    def wanted(self, call: CallEntry, sample: int) -> bytes:
        """What a call of a layer function has to write: a tensor, or some rows of it."""
        whole = self.expected[call.tensor][sample]
        first = 0 if call.first_row is None else call.first_row * (call.bytes // (call.rows or 1))
        return whole[first : first + call.bytes]


def make_case(
    network: Network, prefix: str = "net", samples: int = 3, isa: Sequence[str] = (), schedule: Schedule | None = None
) -> Case:
    """Generate a project with vectors, and the reference.

    With instruction set features, what runs on the host are the plain C twins of their assembly.
    """
    codes = random_inputs(network, samples)
    inputs = packed_samples(network, codes, network.inputs)
    expected = reference(network, codes)
    outputs = [b"".join(expected[name][i] for name in network.outputs) for i in range(samples)]
    artifact = generate(network, Options(prefix, tuple(isa), schedule or Schedule()), Vectors(inputs, outputs))
    return Case(network, artifact, Manifest.parse(artifact.files["manifest.json"]), inputs, expected)


def build_library(cases: Mapping[str, Case], folder: Path, flags: Sequence[str] = ("-O1",)) -> ctypes.CDLL:
    """One shared library of several projects."""
    sources: list[str] = []
    for prefix, case in cases.items():
        case.artifact.write(folder / prefix)
        manifest = case.manifest
        names = [*manifest.sources, *manifest.trace_sources, *manifest.selftest_sources]
        sources += [str(folder / prefix / name) for name in names]
    library = folder / "library.so"
    compile_c([gcc(), *STRICT, *flags, "-shared", "-fPIC", "-o", str(library), *sources])
    return ctypes.CDLL(str(library))


class _Guarded:
    """A buffer of garbage between two guards that nobody may touch."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.memory = ctypes.create_string_buffer(bytes([FILLER]) * (nbytes + 2 * GUARD), nbytes + 2 * GUARD)
        self.pointer = ctypes.c_void_p(ctypes.addressof(self.memory) + GUARD)

    def read(self, offset: int, nbytes: int) -> bytes:
        return self.memory.raw[GUARD + offset : GUARD + offset + nbytes]

    def check(self) -> None:
        raw = self.memory.raw
        assert raw[:GUARD] == bytes([FILLER]) * GUARD, "written before the buffer"
        assert raw[GUARD + self.nbytes :] == bytes([FILLER]) * GUARD, "written behind the buffer"


def check_case(library: ctypes.CDLL, prefix: str, case: Case) -> None:
    """Every tensor of every step equals the interpreter's, then the outputs of the whole run, then the self-test."""
    manifest = case.manifest
    step = library[f"{prefix}_step"]
    run_packed = library[f"{prefix}_run_packed"]
    for sample, data in enumerate(case.inputs):
        arena, output = _Guarded(manifest.arena_bytes), _Guarded(manifest.output_bytes)
        for index, call in enumerate(manifest.calls):
            step(ctypes.c_uint32(index), arena.pointer, data, output.pointer)
            got = (output if call.place else arena).read(call.offset, call.bytes)
            assert got == case.wanted(call, sample), f"{case.network.name}: {call.layer}, sample {sample}"
        assert output.read(0, manifest.output_bytes) == case.outputs[sample]
        arena.check()
        output.check()
        arena, output = _Guarded(manifest.arena_bytes), _Guarded(manifest.output_bytes)
        run_packed(arena.pointer, data, output.pointer)
        assert output.read(0, manifest.output_bytes) == case.outputs[sample]
    first = ctypes.c_int32(7)
    arena = _Guarded(manifest.arena_bytes)
    assert library[f"{prefix}_selftest"](arena.pointer, ctypes.byref(first)) == 0
    assert first.value == -1


def check_cases(cases: Mapping[str, Case], folder: Path) -> None:
    """Compile projects, by prefix, as one library, and compare each."""
    library = build_library(cases, folder)
    for prefix, case in cases.items():
        check_case(library, prefix, case)


def check_networks(networks: Sequence[Network], folder: Path, samples: int = 3, isa: Sequence[str] = ()) -> list[Case]:
    """Generate, compile and compare several networks; hands back the cases for further questions."""
    cases = {f"n{index}": make_case(network, f"n{index}", samples, isa) for index, network in enumerate(networks)}
    check_cases(cases, folder)
    return list(cases.values())


def sites(network: Network, *, may_alias: bool = True) -> list[Site]:
    """The site of every op, for portable C."""
    return [Site.of(network, op, frozenset(), may_alias=may_alias) for op in network.ops]


def kernel_names(case: Case) -> list[str]:
    """Which kernel executes each step."""
    return [step.kernel for step in case.manifest.steps]
