# SPDX-License-Identifier: Apache-2.0
"""The one place that talks to a person: messages and progress on stderr, results on stdout.

Colour, boxes that move and the like are left out when ``NO_COLOR`` is set, when stderr is no terminal, or when
``TERM=dumb``. With ``--json`` stdout carries exactly one document; everything else is on stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

Advance = Callable[[int, str], None]
"""Called with the number of steps done so far and a few words on the latest one."""

UNWATCHED_WIDTH = 160
"""Columns of tables that go into a file or a pipe."""


class Terminal:
    """Where a command's words go.

    Args:
        verbosity: -1 only errors and results, 0 one line per stage, 1 details, 2 also the tools' command lines.
        as_json: results are printed as one JSON document.
    """

    def __init__(self, verbosity: int = 0, *, as_json: bool = False) -> None:
        self.verbosity = verbosity
        self.as_json = as_json
        # soft_wrap: a path is never broken, so it can be copied; the width counts for tables and bars alone.
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)
        watched = sys.stdout.isatty()
        self._out = Console(file=sys.stdout, highlight=False, width=None if watched else UNWATCHED_WIDTH)

    @property
    def animated(self) -> bool:
        """Whether stderr takes bars that redraw themselves."""
        return self._err.is_terminal and not self._err.is_dumb_terminal and self.verbosity >= 0

    def note(self, text: str) -> None:
        """One line on what goes on."""
        if self.verbosity >= 0:
            self._err.print(escape(text))

    def detail(self, text: str) -> None:
        """A line for ``-v``."""
        if self.verbosity >= 1:
            self._err.print(escape(text), style="dim")

    def warn(self, text: str) -> None:
        """A line that matters even to those who asked for quiet."""
        self._err.print(f"[yellow]warning:[/yellow] {escape(text)}")

    def error(self, text: str) -> None:
        """What stopped the command; the first line is marked."""
        first, _, rest = text.partition("\n")
        self._err.print(f"[bold red]error:[/bold red] {escape(first)}")
        if rest:
            self._err.print(escape(rest))

    def print(self, text: str) -> None:
        """A result for people, on stdout; nothing with ``--json``."""
        if not self.as_json:
            self._out.print(escape(text), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table for people, on stdout; nothing with ``--json``."""
        if not self.as_json:
            self._out.print(table)

    @property
    def width(self) -> int:
        """Columns that a table may take."""
        return self._out.width

    def document(self, document: Mapping[str, Any]) -> None:
        """The one JSON document; nothing without ``--json``."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
            sys.stdout.flush()

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Advance]:
        """A bar with the time left; a line at the end where bars cannot move.

        Args:
            title: what is being done.
            total: number of steps.
        """
        if not self.animated:
            yield lambda done, text: self.detail(f"{title}: {done}/{total} {text}")
            return
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=self._err, transient=True) as bars:
            task = bars.add_task(title, total=total, text="")
            yield lambda done, text: bars.update(task, completed=done, text=text)
