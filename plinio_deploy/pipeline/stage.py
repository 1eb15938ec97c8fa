# SPDX-License-Identifier: Apache-2.0
"""One stage's folder: written to one side, then moved into place with a `stage.json` of what went in and came out.

A stage that was killed leaves only its work folder behind, never half a result. Work folders live in ``.work`` of the
run's folder; a stage that can go on where it stopped (training) finds its checkpoints there again, provided that the
inputs are the same.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plinio_deploy import __version__
from plinio_deploy.artifact import write_atomically
from plinio_deploy.console import Terminal
from plinio_deploy.errors import OutputError

RECORD = "stage.json"
WORK = ".work"
_INPUTS = "inputs.json"


DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
"""What a disk that is full, read-only or broken answers, whatever was being done."""


@contextmanager
def writing(path: Path, *, only: frozenset[int] | None = None) -> Iterator[None]:
    """Turn an `OSError` raised inside into `OutputError`.

    Args:
        path: what is being written, for the message.
        only: error numbers to turn; others pass. ``None`` turns all.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise OutputError(
            f"cannot write to {path}",
            where=str(error.filename or path),
            got=error.strerror or str(error),
            hints=("free some space, or make the folder writable", "name another folder with --out"),
        ) from error


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: object) -> str:
    """Digest of a JSON-able value, the same for the same content."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def package_digest(*names: str) -> str:
    """Digest of our own source, so that a stage runs again after an upgrade that touches it.

    Args:
        names: modules or folders below ``plinio_deploy``, e.g. ``"codegen"``, ``"fixedpoint.py"``.
    """
    root = Path(__file__).resolve().parent.parent
    state = hashlib.sha256(__version__.encode())
    for name in names:
        top = root / name
        files = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
        for path in files:
            if "__pycache__" not in path.parts and path.suffix != ".md":
                state.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return state.hexdigest()


@dataclass(frozen=True)
class Record:
    """What ``stage.json`` says.

    Attributes:
        stage: name of the stage.
        inputs: digest or value of everything the result depends on, by name.
        outputs: SHA-256 of each file, by path within the stage's folder.
        facts: what the next stages and the report want to know, as JSON.
        kept: whether it was there already; not part of the file.
    """

    stage: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    kept: bool = False

    @property
    def digest(self) -> str:
        """Digest of the outputs: the identity of the result."""
        return digest_json(dict(self.outputs))

    def to_json(self) -> str:
        """Text of the file; sorted, so that the same result gives the same bytes."""
        body = {
            "schema": 1,
            "stage": self.stage,
            "inputs_digest": digest_json(dict(self.inputs)),
            "inputs": dict(self.inputs),
            "outputs_digest": self.digest,
            "outputs": dict(self.outputs),
            "facts": dict(self.facts),
        }
        return json.dumps(body, indent=2, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Record:
        """Parse `to_json`.

        Raises:
            ValueError: it is something else.
        """
        body = json.loads(text)
        if not isinstance(body, dict) or body.get("schema") != 1:
            raise ValueError("not a stage record of schema 1")
        try:
            return Record(str(body["stage"]), dict(body["inputs"]), dict(body["outputs"]), dict(body["facts"]))
        except (KeyError, TypeError) as error:
            raise ValueError("a stage record lacks a part") from error


@dataclass(frozen=True)
class StageFolder:
    """Where one stage of one run keeps its result.

    Attributes:
        out: the run's folder.
        parts: path within it, e.g. ``("build", "cortex-m4")``; the first part is the stage's name.
    """

    out: Path
    parts: Sequence[str]

    @property
    def name(self) -> str:
        """Name for messages, e.g. ``build cortex-m4``."""
        return " ".join(self.parts)

    @property
    def path(self) -> Path:
        """The finished result."""
        return self.out.joinpath(*self.parts)

    @property
    def work(self) -> Path:
        """Where the result is made."""
        return self.out.joinpath(WORK, "-".join(self.parts))

    def record(self) -> Record | None:
        """The record of the finished result; ``None`` if there is none or it cannot be read."""
        try:
            return Record.from_json((self.path / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def current(self, inputs: Mapping[str, str]) -> Record | None:
        """The record, if it was made from these inputs and every file is as it was written."""
        record = self.record()
        if record is None or dict(record.inputs) != dict(inputs) or record.outputs != _digests(self.path):
            return None
        return record

    def discard(self) -> None:
        """Remove the finished result, if there is one.

        Raises:
            OutputError: it cannot be removed.
        """
        with writing(self.path):
            if self.path.exists():
                shutil.rmtree(self.path)

    def begin(self, inputs: Mapping[str, str], *, resumable: bool = False) -> Path:
        """An empty work folder; for a resumable stage the one that an interrupted attempt with the same inputs left.

        Raises:
            OutputError: it cannot be made.
        """
        mark = self.work / _INPUTS
        text = json.dumps(dict(inputs), sort_keys=True)
        with writing(self.work):
            same = resumable and mark.is_file() and mark.read_text(encoding="utf-8") == text
            if self.work.exists() and not same:
                shutil.rmtree(self.work)
            self.work.mkdir(parents=True, exist_ok=True)
            if not mark.exists():
                write_atomically(mark, text.encode())
        return self.work

    def commit(self, inputs: Mapping[str, str], facts: Mapping[str, Any]) -> Record:
        """Move the work folder into place.

        Hidden files (checkpoints, temporary files of atomic writes) do not belong to the result and are removed.

        Raises:
            OutputError: it cannot be moved.
        """
        with writing(self.path):
            (self.work / _INPUTS).unlink(missing_ok=True)
            for entry in self.work.iterdir():
                if entry.name.startswith("."):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            text = Record(self.parts[0], dict(inputs), _digests(self.work), dict(facts)).to_json()
            write_atomically(self.work / RECORD, text.encode())
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _replace(self.work, self.path)
        return Record.from_json(text)  # as a later run will read it, so that both go on from the very same facts


def perform(
    folder: StageFolder,
    inputs: Mapping[str, str],
    terminal: Terminal,
    make: Callable[[Path], Mapping[str, Any]],
    *,
    resumable: bool = False,
) -> Record:
    """Run a stage, unless its result is there already.

    Args:
        folder: where its result belongs.
        inputs: digest or value of everything the result depends on.
        terminal: told what goes on.
        make: writes the result into the folder it is given and returns the facts for the record.
        resumable: hand `make` the folder of an interrupted attempt with the same inputs.

    Raises:
        OutputError: the result cannot be written.
    """
    record = folder.current(inputs)
    if record is not None:
        terminal.note(f"{folder.name}: unchanged, kept")
        return replace(record, kept=True)
    terminal.note(f"{folder.name} ...")
    work = folder.begin(inputs, resumable=resumable)
    with writing(folder.path, only=DISK_ERRORS):
        facts = make(work)
    return folder.commit(inputs, facts)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the record, by POSIX path."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / RECORD
    }


def _replace(source: Path, destination: Path) -> None:
    """Move a folder over another. A kill in between leaves no destination: the stage then runs again."""
    old = source.with_name(source.name + ".old")
    if old.exists():
        shutil.rmtree(old)
    if destination.exists():
        destination.replace(old)
    source.replace(destination)
    if old.exists():
        shutil.rmtree(old)
