# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import inspect

from plinio_deploy.cli import options
from plinio_deploy.console import Terminal


def test_verb_trades_the_terminal_for_the_common_options() -> None:
    seen: list[tuple[int, bool, str]] = []

    @options.verb
    def greet(terminal: Terminal, name: str = "x") -> None:
        """Say hello."""
        seen.append((terminal.verbosity, terminal.as_json, name))

    assert list(inspect.signature(greet).parameters) == ["name", "as_json", "verbose", "quiet", "traceback"]
    assert greet.__doc__ == "Say hello."
    greet(name="y", as_json=True, verbose=2, quiet=False, traceback=False)
    greet(name="z", as_json=False, verbose=2, quiet=True, traceback=False)
    assert seen == [(2, True, "y"), (-1, False, "z")]
