# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from rich.table import Table

from plinio_deploy.console import Terminal

ESCAPE = "\x1b"
SPEAK = """
from rich.table import Table
from plinio_deploy.console import Terminal
terminal = Terminal(1)
terminal.note("a note"); terminal.detail("a detail"); terminal.warn("a warning"); terminal.error("bad\\n  got: 1")
with terminal.progress("train", 2) as advance:
    advance(1, "half"); advance(2, "done")
table = Table("name"); table.add_row("[red]row"); terminal.table(table)
"""


def _on_a_terminal(**variables: str) -> str:
    """What a program that speaks writes to a pseudo-terminal."""
    leader, follower = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")} | variables
    command = [sys.executable, "-c", SPEAK]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        text = b""
        try:
            while part := os.read(leader, 65536):
                text += part
        except OSError:  # the other side is closed
            pass
        os.close(leader)
        assert process.wait() == 0, text.decode()
    return text.decode()


def test_colours_on_a_terminal() -> None:
    text = _on_a_terminal(TERM="xterm-256color")
    assert f"{ESCAPE}[1;31merror:" in text
    assert "left" in text, "the bar shows the time left"


def test_no_colour_where_it_is_not_wanted() -> None:
    text = _on_a_terminal(TERM="xterm-256color", NO_COLOR="1")
    assert "error: bad" in text.replace(f"{ESCAPE}[1m", "").replace(f"{ESCAPE}[0m", "")
    assert f"{ESCAPE}[31m" not in text
    assert f"{ESCAPE}[1;31m" not in text


def test_dumb_terminal_gets_plain_text_and_no_bars() -> None:
    text = _on_a_terminal(TERM="dumb")
    assert ESCAPE not in text
    assert "train: 1/2 half" in text


def test_pipe_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SPEAK], capture_output=True, text=True, check=True)
    assert ESCAPE not in done.stdout + done.stderr
    assert "error: bad\n  got: 1\n" in done.stderr
    assert "row" in done.stdout


@pytest.mark.parametrize(("verbosity", "lines"), [(-1, ["w", "e"]), (0, ["n", "w", "e"]), (1, ["n", "d", "w", "e"])])
def test_verbosity(verbosity: int, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(verbosity)
    terminal.note("n")
    terminal.detail("d")
    terminal.warn("w")
    terminal.error("e")
    printed = capsys.readouterr()
    assert [line.rpartition(" ")[2] for line in printed.err.splitlines()] == lines
    assert printed.out == ""


def test_json_keeps_stdout_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    terminal.print("text")
    terminal.table(Table("name"))
    terminal.document({"ok": True})
    assert json.loads(capsys.readouterr().out) == {"ok": True}


def test_people_get_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.document({"ok": True})
    terminal.print("see [out/report.html]")
    assert capsys.readouterr().out == "see [out/report.html]\n"


def test_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a/long/path" * 30
    terminal = Terminal()
    terminal.note(path)
    terminal.print(path)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (path + "\n", path + "\n")
