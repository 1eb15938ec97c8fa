# SPDX-License-Identifier: Apache-2.0
"""The folder of one run: what lies where in it, whether it can be written, and that only one run uses it at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plinio_deploy.errors import OutputError
from plinio_deploy.pipeline.stage import WORK, StageFolder, writing

ROOM_BYTES = 16 << 20
"""Free space that a run asks for before it starts; a digits run takes about a tenth of it per target."""


@dataclass(frozen=True)
class Workspace:
    """A run's folder.

    ::

        out/train/              the trained, fake-quantized network
        out/searched/           what a search found, if there was one
        out/integerize/         network.json, weights.safetensors, test set as codes
        out/generate/           project/: the C project, of the first target where there are several
        out/generate-<isa>/     the same for targets with other instruction set features
        out/generate-for/<target>/  the same for targets that have another schedule than the first
        out/tune/<target>/      schedule.json, and tuning.json with all that was measured for it
        out/build/<target>/     firmware.elf and its sizes
        out/measure/<target>/   measurement.json
        out/report/             report.html, report.json

    Attributes:
        out: its path.
    """

    out: Path

    @property
    def train(self) -> StageFolder:
        """Stage `train`."""
        return StageFolder(self.out, ("train",))

    @property
    def search(self) -> StageFolder:
        """Stage `search`."""
        return StageFolder(self.out, ("searched",))

    @property
    def integerize(self) -> StageFolder:
        """Stage `integerize`."""
        return StageFolder(self.out, ("integerize",))

    @property
    def generate(self) -> StageFolder:
        """Stage `generate`."""
        return StageFolder(self.out, ("generate",))

    def generate_for(self, isa: Sequence[str]) -> StageFolder:
        """Stage `generate` for targets whose features differ from those of the first target of the run."""
        return StageFolder(self.out, ("-".join(("generate", *(sorted(isa) or ("portable",)))),))

    def generate_scheduled(self, target: str) -> StageFolder:
        """Stage `generate` for a target whose schedule, or that it has none, differs from that of the first target."""
        return StageFolder(self.out, ("generate-for", target))

    def tune(self, target: str) -> StageFolder:
        """Stage `tune` for a target."""
        return StageFolder(self.out, ("tune", target))

    def build(self, target: str) -> StageFolder:
        """Stage `build` for a target."""
        return StageFolder(self.out, ("build", target))

    def measure(self, target: str) -> StageFolder:
        """Stage `measure` for a target."""
        return StageFolder(self.out, ("measure", target))

    @property
    def report(self) -> StageFolder:
        """Stage `report`."""
        return StageFolder(self.out, ("report",))

    def check_writable(self) -> None:
        """Look, without writing anything, whether a run could write here.

        Raises:
            OutputError: something is in the way, the folder is read-only, or the disk is all but full.
        """
        existing = self.out.absolute()
        while not os.path.lexists(existing):
            existing = existing.parent
        hints = ("name another folder with --out",)
        if not existing.is_dir():
            raise OutputError(
                f"cannot use {self.out} as the output folder",
                where=str(existing),
                got="a file",
                expected="a folder, or nothing yet",
                hints=hints,
            )
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write to {self.out}", where=str(existing), got="a read-only folder", hints=hints)
        free = shutil.disk_usage(existing).free
        if free < ROOM_BYTES:
            raise OutputError(
                f"cannot write to {self.out}: the disk is full",
                where=str(existing),
                got=f"{free // 1024} KiB free",
                expected=f"at least {ROOM_BYTES // 1024} KiB",
                hints=("free some space", *hints),
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other runs out of it for as long as the context lasts.

        Raises:
            OutputError: another run is in it, or it cannot be made.
        """
        with writing(self.out):
            (self.out / WORK).mkdir(parents=True, exist_ok=True)
            handle = os.open(self.out / WORK / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise OutputError(f"cannot lock {self.out}", got=error.strerror) from error
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise OutputError(
                f"another run is using {self.out}",
                got=f"process {holder}",
                hints=("wait for it to end", "name another folder with --out"),
            ) from error
        with writing(self.out):
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
