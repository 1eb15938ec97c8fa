# SPDX-License-Identifier: Apache-2.0
"""Generated files in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.artifact import Artifact, write_atomically
from plinio_deploy.errors import OutputError


def test_the_digest_depends_on_content_and_not_on_order() -> None:
    one = Artifact({"a": b"1", "b/c": b"2"})
    assert one.digest() == Artifact({"b/c": b"2", "a": b"1"}).digest()
    assert one.digest() != Artifact({"a": b"12", "b/c": b""}).digest()
    assert one.digest() != Artifact({"a": b"1", "b/d": b"2"}).digest()


def test_read_returns_what_write_wrote(tmp_path: Path) -> None:
    one = Artifact({"a": b"1", "b/c": b"2"})
    one.write(tmp_path / "out")
    assert Artifact.read(tmp_path / "out") == one


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../b", "a//b"])
def test_paths_stay_inside(name: str) -> None:
    with pytest.raises(ValueError, match="relative and plain"):
        Artifact({name: b""})


def test_a_file_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        Artifact({"a": b"1"}).write(tmp_path / "out")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
