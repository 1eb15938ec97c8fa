# SPDX-License-Identifier: Apache-2.0
"""From arguments to exit code. Everything that goes wrong ends here, in one place and in one form.

===== ==============================================================
0     ok
1     a check of ours failed: not bit-exact, accuracy below the bar
2     the request is wrong: arguments, target file, recipe, folder
3     a tool is missing
4     the model holds something that has no integer form here
5     the firmware does not fit the target
6     the device (emulator, simulator, board) did not answer
70    a bug of ours; the traceback is in a file that the message names
130   interrupted with Ctrl-C; the same command goes on
===== ==============================================================
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from plinio_deploy.cli.app import app
from plinio_deploy.console import Terminal
from plinio_deploy.errors import PlinioDeployError, UsageError

PROGRAM = "plinio-deploy"
_TYPER_ERROR: type[Exception] = typer.BadParameter.__mro__[1]  # typer's usage error, which has no public name
EXIT_BUG = 70
"""``EX_SOFTWARE`` of sysexits.h."""
EXIT_INTERRUPTED = 130
"""What a shell reports for a program that SIGINT ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; ``None`` takes those of the process.

    Returns:
        The exit code; see this module's table.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    terminal = Terminal(as_json="--json" in given)
    show_traceback = "--traceback" in given
    try:
        code = _invoke(given)
    except PlinioDeployError as error:
        if show_traceback:
            terminal.error(traceback.format_exc())
        terminal.error(str(error))
        terminal.document(failure(given, error.as_dict()))
        return error.exit_code
    except BrokenPipeError:
        # The reader of stdout went away (`| head`); nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort: whatever reaches this line is a bug of ours)
        return _bug(given, error, terminal, show_traceback=show_traceback)
    if code == EXIT_INTERRUPTED:
        _interrupted(given, terminal)
    return code


def _invoke(arguments: list[str]) -> int:
    """Let typer parse and call; its own errors become ours.

    Raises:
        UsageError: the arguments are wrong.
    """
    if not arguments:
        arguments = ["--help"]
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except typer.Abort:
        return EXIT_INTERRUPTED
    except _TYPER_ERROR as error:
        raise _usage(error) from None
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> UsageError:
    path = error.ctx.command_path if error.ctx is not None else PROGRAM
    return UsageError(error.format_message().rstrip("."), hints=(f"{path} --help",))


def failure(arguments: Sequence[str], error: dict[str, object]) -> dict[str, object]:
    """The document that ``--json`` prints when a command fails."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    return {"schema": 1, "verb": verb, "ok": False, "error": error}


def _interrupted(arguments: Sequence[str], terminal: Terminal) -> None:
    again = shlex.join([PROGRAM, *arguments])
    what = "interrupted; finished stages are kept"
    terminal.error(f"{what}\n  Things to try:\n    - the same command goes on where this one stopped: {again}")
    error = {"kind": "Interrupted", "exit_code": EXIT_INTERRUPTED, "what": what, "hints": [again]}
    terminal.document(failure(arguments, error))


def _bug(arguments: Sequence[str], error: Exception, terminal: Terminal, *, show_traceback: bool) -> int:
    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    place = _save_traceback(shlex.join([PROGRAM, *arguments]) + "\n\n" + text)
    if show_traceback:
        terminal.error(text)
    terminal.error(
        f"this is a bug in {PROGRAM}: {summary}\n  Things to try:\n"
        f"    - report it, with the traceback in {place or 'the output of --traceback'}"
    )
    details: dict[str, object] = {"kind": "Bug", "exit_code": EXIT_BUG, "what": summary, "where": place, "hints": []}
    terminal.document(failure(arguments, details))
    return EXIT_BUG


def _save_traceback(text: str) -> str | None:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix=f"{PROGRAM}-traceback-", suffix=".txt", delete=False, encoding="utf-8"
        ) as stream:
            stream.write(text)
            return stream.name
    except OSError:
        return None
