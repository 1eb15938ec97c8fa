# SPDX-License-Identifier: Apache-2.0
"""The one exception tree, and the exit code that each branch gives the command line.

PlinioDeployError
├── CheckFailed              exit 1   a check of ours failed
│   ├── NotBitExact                   the device computed another integer than the interpreter
│   ├── AccuracyTooLow                the integer network misses the recipe's bar
│   └── BuildFailed                   a compiler or linker refused what we generated
├── UsageError               exit 2   the request itself is wrong
│   ├── UnknownTarget
│   ├── InvalidTargetFile
│   ├── InvalidNetwork                a network breaks a rule of the grammar, or its file is damaged
│   ├── RecipeError                   the user's recipe raised, or lacks a member
│   └── OutputError                   the output folder cannot be written
├── ToolMissing              exit 3   a compiler, emulator or package is not installed
├── UnsupportedModel         exit 4   the model holds something that has no integer form here
├── DoesNotFit               exit 5   the firmware is larger than the target's memory or the budget
└── DeviceError              exit 6   an emulator, simulator or board did not answer as agreed

Every message says what happened, where (layer name, file:line), what was got and expected, and what to try next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class PlinioDeployError(Exception):
    """Root of the tree; raise one of its leaves.

    Args:
        what: one sentence, no full stop needed: what went wrong.
        where: layer name, ``file:line`` or the like; ``None`` if there is no place to name.
        got: the value that was found.
        expected: the value or range that would have been right.
        hints: things to try next, most likely first; each a whole sentence or a command.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object | None = None,
        expected: object | None = None,
        hints: Sequence[str] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.hints = tuple(hints)

    @property
    def kind(self) -> str:
        """Name of the leaf class, as ``--json`` prints it."""
        return type(self).__name__

    def __str__(self) -> str:
        lines = [self.what]
        if self.where is not None:
            lines.append(f"  where:    {self.where}")
        if self.got is not None:
            lines.append(f"  got:      {self.got}")
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.hints:
            lines.append("  Things to try:")
            lines.extend(f"    - {hint}" for hint in self.hints)
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """The ``error`` object of ``--json``."""
        return {
            "kind": self.kind,
            "exit_code": self.exit_code,
            "what": self.what,
            "where": self.where,
            "got": None if self.got is None else str(self.got),
            "expected": None if self.expected is None else str(self.expected),
            "hints": list(self.hints),
        }


class CheckFailed(PlinioDeployError):
    """A check of ours failed."""

    exit_code = 1


class NotBitExact(CheckFailed):
    """The device computed another integer than the interpreter."""


class AccuracyTooLow(CheckFailed):
    """The integer network misses the recipe's bar."""


class BuildFailed(CheckFailed):
    """A compiler or linker refused what we generated."""


class UsageError(PlinioDeployError):
    """The request itself is wrong."""

    exit_code = 2


class UnknownTarget(UsageError):
    """No target of that name is known."""


class InvalidTargetFile(UsageError):
    """A target's TOML file breaks the schema."""


class InvalidNetwork(UsageError):
    """A network breaks a rule of the grammar, or its file is damaged."""


class RecipeError(UsageError):
    """The user's recipe raised, or lacks a member."""


class OutputError(UsageError):
    """The output folder cannot be written."""


class ToolMissing(PlinioDeployError):
    """A compiler, emulator or package is not installed."""

    exit_code = 3


class UnsupportedModel(PlinioDeployError):
    """The model holds something that has no integer form here."""

    exit_code = 4


class DoesNotFit(PlinioDeployError):
    """The firmware is larger than the target's memory or the budget."""

    exit_code = 5


class DeviceError(PlinioDeployError):
    """An emulator, simulator or board did not answer as agreed."""

    exit_code = 6
