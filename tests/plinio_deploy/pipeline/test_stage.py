# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plinio_deploy.console import Terminal
from plinio_deploy.errors import OutputError
from plinio_deploy.pipeline.stage import RECORD, Record, StageFolder, package_digest, perform, writing

INPUTS = {"network": "abc", "options": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> StageFolder:
    return StageFolder(tmp_path / "out", ("build", "cortex-m4"))


def _make(folder: StageFolder, content: str = "x", inputs: Mapping[str, str] = INPUTS) -> Record:
    def make(work: Path) -> Mapping[str, Any]:
        (work / "sub").mkdir()
        (work / "sub" / "file").write_text(content)
        return {"size": len(content)}

    return perform(folder, inputs, Terminal(-1), make)


def test_result_is_kept_while_inputs_are_the_same(folder: StageFolder) -> None:
    first = _make(folder)
    assert not first.kept
    assert _make(folder, "not made").kept
    assert (folder.path / "sub" / "file").read_text() == "x"


def test_other_inputs_make_it_again(folder: StageFolder) -> None:
    _make(folder)
    assert not _make(folder, "y", {**INPUTS, "options": "2"}).kept
    assert (folder.path / "sub" / "file").read_text() == "y"


@pytest.mark.parametrize("damage", ["change", "remove", "add", "no record", "bad record"])
def test_damaged_result_is_made_again(folder: StageFolder, damage: str) -> None:
    _make(folder)
    file, record = folder.path / "sub" / "file", folder.path / RECORD
    match damage:
        case "change":
            file.write_text("z")
        case "remove":
            file.unlink()
        case "add":
            (folder.path / "more").write_text("?")
        case "no record":
            record.unlink()
        case _:
            record.write_text(record.read_text()[:40])
    assert not _make(folder).kept
    assert file.read_text() == "x"
    assert not (folder.path / "more").exists()


def test_interrupted_attempt_leaves_the_old_result_and_no_new_one(folder: StageFolder) -> None:
    _make(folder)

    def stop(work: Path) -> Mapping[str, Any]:
        (work / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perform(folder, {"network": "new"}, Terminal(-1), stop)
    assert folder.current(INPUTS) is not None
    again = perform(folder, {"network": "new"}, Terminal(-1), lambda _: {})
    assert again.outputs == {}, "what the interrupted attempt left must not get into the result"


def test_resumable_stage_finds_its_checkpoint_only_with_the_same_inputs(folder: StageFolder) -> None:
    seen = []

    def stop(work: Path) -> Mapping[str, Any]:
        (work / ".checkpoint").write_text("epoch 3")
        raise KeyboardInterrupt

    def look(work: Path) -> Mapping[str, Any]:
        seen.append((work / ".checkpoint").exists())
        return {}

    for before, after in ((INPUTS, INPUTS), ({"network": "a"}, {"network": "b"})):
        with pytest.raises(KeyboardInterrupt):
            perform(folder, before, Terminal(-1), stop, resumable=True)
        perform(folder, after, Terminal(-1), look, resumable=True)
    assert seen == [True, False]
    assert not (folder.path / ".checkpoint").exists()


def test_record_has_the_same_bytes_in_another_folder(tmp_path: Path) -> None:
    records = []
    for name in ("a", "b"):
        folder = StageFolder(tmp_path / name, ("train",))
        _make(folder)
        records.append((folder.path / RECORD).read_bytes())
    assert records[0] == records[1]
    body = json.loads(records[0])
    assert body["inputs"] == INPUTS
    assert body["facts"] == {"size": 1}
    assert str(tmp_path).encode() not in records[0]


def test_facts_are_the_same_whether_made_or_kept(folder: StageFolder) -> None:
    def make(_: Path) -> Mapping[str, Any]:
        return {"z": 1, "a": [(1, 2)]}

    made = perform(folder, INPUTS, Terminal(-1), make)
    kept = perform(folder, INPUTS, Terminal(-1), make)
    assert kept.kept
    assert json.dumps(made.facts) == json.dumps(kept.facts)


def test_record_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="schema 1"):
        Record.from_json('{"schema": 2}')
    with pytest.raises(ValueError, match="lacks"):
        Record.from_json('{"schema": 1}')


def test_full_disk_inside_a_stage_becomes_an_output_error(folder: StageFolder) -> None:
    def full(_: Path) -> Mapping[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="cannot write") as caught:
        perform(folder, INPUTS, Terminal(-1), full)
    assert "No space left" in str(caught.value)


def test_other_os_errors_inside_a_stage_pass(folder: StageFolder) -> None:
    def missing(_: Path) -> Mapping[str, Any]:
        raise FileNotFoundError(errno.ENOENT, "gone")

    with pytest.raises(FileNotFoundError):
        perform(folder, INPUTS, Terminal(-1), missing)


def test_writing_names_the_file() -> None:
    with pytest.raises(OutputError, match="cannot write to there"), writing(Path("there")):
        raise PermissionError(errno.EACCES, "Permission denied", "there/file")


def test_package_digest_follows_our_source() -> None:
    assert package_digest("errors.py") == package_digest("errors.py")
    assert package_digest("errors.py") != package_digest("artifact.py")
    assert package_digest("firmware") != package_digest("targets")
