# SPDX-License-Identifier: Apache-2.0
"""Stage `build`: the C project and the bench become firmware for one target."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plinio_deploy.artifact import Artifact
from plinio_deploy.codegen import Manifest
from plinio_deploy.console import Terminal
from plinio_deploy.errors import BuildFailed, OutputError
from plinio_deploy.pipeline.stage import Record, StageFolder, digest_json, package_digest, perform
from plinio_deploy.targets import build as builder
from plinio_deploy.targets import toolchains
from plinio_deploy.targets.schema import Target

_DISK_FULL = ("No space left on device", "File too large", "File size limit exceeded")
"""What compilers print when it is not the program's fault."""

_CODE = ("targets", "firmware", "pipeline/build.py")


@dataclass(frozen=True)
class Project:
    """A generated C project.

    Attributes:
        artifact: its files.
        manifest: what they are.
    """

    artifact: Artifact
    manifest: Manifest

    @property
    def inputs(self) -> builder.BuildInputs:
        """Which of the files to compile."""
        return builder.BuildInputs(
            prefix=self.manifest.prefix,
            sources=tuple(self.manifest.sources),
            trace_sources=tuple(self.manifest.trace_sources),
            layers=tuple(
                builder.Layer(
                    step.layer, step.symbol, step.weights_bytes, self._live_bytes(step.index), tuple(step.functions)
                )
                for step in self.manifest.steps
            ),
            arena_bytes=self.manifest.arena_bytes,
        )

    def _live_bytes(self, step: int) -> int:
        """Bytes of the arena that hold live tensors during a step."""
        alive = {
            (buffer.offset, buffer.bytes)
            for buffer in self.manifest.buffers
            if buffer.first_step <= step <= buffer.last_step
        }
        # Tensors that share their bytes (in place) lie at one offset: the larger one counts.
        return sum(max(size for offset, size in alive if offset == start) for start in {offset for offset, _ in alive})


@contextmanager
def room_for(path: Path, hint: str) -> Iterator[None]:
    """Tell a compiler that ran out of disk from one that refused the code.

    Args:
        path: what it was writing to.
        hint: what to do about it.

    Raises:
        OutputError: instead of `BuildFailed`, if the compiler's words are about the disk.
    """
    try:
        yield
    except BuildFailed as error:
        full = next((words for words in _DISK_FULL if words in str(error)), None)
        if full is None:
            raise
        raise OutputError(f"cannot write to {path}", got=full, hints=(hint,)) from error


def run(folder: StageFolder, project: Project, target: Target, terminal: Terminal) -> Record:
    """Build the firmware, unless it is there already.

    Args:
        folder: where the stage keeps its result.
        project: the generated C.
        target: what to build for.
        terminal: told what goes on.

    Raises:
        ToolMissing, BuildFailed, DoesNotFit, OutputError: see `plinio_deploy.targets.build.build`.
    """
    compiler = toolchains.require(target.toolchain)
    inputs = {
        "project": project.artifact.digest(),
        "target": digest_json(target.model_dump(mode="json")),
        "compiler": compiler.banner,
        "code": package_digest(*_CODE),
    }

    def make(work: Path) -> Mapping[str, Any]:
        terminal.detail(f"  {compiler.path} {' '.join(target.flags)}")
        with room_for(folder.path, "free some space, or name another folder with --out"):
            result = builder.build(project.artifact, project.inputs, target, work)
        for name in ("src", "obj"):
            shutil.rmtree(work / name)
        return {
            "target": target.name,
            "elf": result.elf.name,
            "flash_bytes": result.image.flash_bytes,
            "ram_bytes": result.image.ram_bytes,
            "code_bytes": result.network_code_bytes,
            "weights_bytes": result.network_constant_bytes,
            "sections": [[section.name, section.kind, section.size] for section in result.image.sections],
            "layers": {layer.name: layer.code_bytes(result.image) for layer in project.inputs.layers},
            "tools": dict(result.tools),
        }

    return perform(folder, inputs, terminal, make)
