# SPDX-License-Identifier: Apache-2.0
"""The cache: each file is made once and whole, whoever asks for it at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plinio_deploy.errors import OutputError
from plinio_deploy.targets import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(scratch: Path) -> Path:
    (scratch / "made").write_text("content")
    return scratch / "made"


def test_a_file_is_made_once(own_cache: Path) -> None:
    path = cache.file("kind", "name", write)
    assert path == own_cache / "kind" / "name"
    assert path.read_text() == "content"
    assert cache.file("kind", "name", lambda _: pytest.fail("made again")) == path


def test_the_second_of_two_builders_waits_for_the_first() -> None:
    begun, go_on, made = threading.Event(), threading.Event(), []

    def slowly(scratch: Path) -> Path:
        begun.set()
        assert go_on.wait(30)
        made.append(1)
        return write(scratch)

    first = threading.Thread(target=cache.file, args=("kind", "name", slowly))
    second = threading.Thread(target=cache.file, args=("kind", "name", slowly))
    first.start()
    assert begun.wait(30)
    second.start()
    second.join(0.1)
    assert second.is_alive()
    go_on.set()
    first.join()
    second.join()
    assert made == [1]


def test_what_fails_leaves_nothing_behind(own_cache: Path) -> None:
    def fail(scratch: Path) -> Path:
        write(scratch)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        cache.file("kind", "name", fail)
    assert [path.name for path in (own_cache / "kind").iterdir()] == ["name.lock"]
    assert cache.file("kind", "name", write).read_text() == "content"


def test_a_cache_that_cannot_be_written(own_cache: Path) -> None:
    own_cache.write_text("in the way")
    with pytest.raises(OutputError) as caught:
        cache.file("kind", "name", write)
    assert caught.value.where == str(own_cache / "kind")
    assert cache.CACHE_VARIABLE in caught.value.hints[0]
