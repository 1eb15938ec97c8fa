# SPDX-License-Identifier: Apache-2.0
"""Tables of instruction timing: what the model behind `cycles_source = "model"` charges; see README.md beside them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from plinio_deploy.errors import InvalidTargetFile, UsageError
from plinio_deploy.targets.schema import Region

FOLDER = Path(__file__).resolve().parent

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\n\"]+$")]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")]
Count = Annotated[int, Field(ge=0, le=255)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


@dataclass(frozen=True)
class Flash:
    """Memory with wait states; nothing is fetched ahead.

    Attributes:
        region: where it lies.
        wait: cycles that an access takes beyond one, at least 1.
        line: bytes of an access.
        code_lines: lines of code that are held; 1 is the fetch buffer.
        data_lines: lines of data that are held.
    """

    region: Region
    wait: int
    line: int
    code_lines: int
    data_lines: int

    def conditions(self) -> str:
        """In words."""
        held = f"{self.code_lines} lines of code and {self.data_lines} of data held, no prefetch"
        return f"{self.wait} wait states per {self.line} bytes of flash, {held}"


class Rule(_Table):
    """What one class of instructions costs.

    Attributes:
        kind: the class, one of `CLASSES` in firmware/qemu_plugin/thumb.h; `class` in the file.
        cycles: of one instruction, without a jump.
        per_register: and for each register of its list.
        maximum: where the operands decide, the most; else 0.
        latency: cycles from issue to a result that can be used; for the scoreboard only.
        refill: the effect that is added when it jumps.
        source: where it is written, or that it is assumed.
    """

    kind: Key = Field(alias="class")
    cycles: Count
    per_register: Count = 0
    maximum: Count = 0
    latency: Count = 1
    refill: Key = "none"
    source: Text


class Effect(_Table):
    """What neighbours, alignment or a jump change; the names are `EFFECTS` in firmware/qemu_plugin/timing.h."""

    name: Key
    cycles: Count
    source: Text


class Timing(_Table):
    """The timing of one core.

    Attributes:
        name: equal to the file's name without `.toml`.
        title: the core.
        document: where the numbers are from.
        pipeline: `serial`: one instruction after the other, direct neighbours act on each other; `scoreboard`: issued
            in order, as many per cycle as `issue_width` says, each when its operands are ready.
        approximate: whether something in it is assumed or measured by others rather than documented by the maker.
        rules: by class; a class without a row takes one cycle.
        effects: all others are nothing.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
    title: Text
    document: Text
    pipeline: Literal["serial", "scoreboard"]
    approximate: bool
    rules: Annotated[tuple[Rule, ...], Field(strict=False, min_length=1)]
    effects: Annotated[tuple[Effect, ...], Field(strict=False)] = ()

    @field_validator("rules", "effects")
    @classmethod
    def _each_once(cls, rows: tuple[Rule | Effect, ...]) -> tuple[Rule | Effect, ...]:
        names = [row.kind if isinstance(row, Rule) else row.name for row in rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more than one row for {', '.join(twice)}")
        return rows

    def rule(self, kind: str) -> Rule:
        """The row of a class.

        Raises:
            KeyError: there is none.
        """
        return {row.kind: row for row in self.rules}[kind]

    def effect(self, name: str) -> int:
        """The cycles of an effect; 0 if the table does not name it."""
        return {row.name: row.cycles for row in self.effects}.get(name, 0)

    def encoded(self, flash: Flash | None = None) -> str:
        """The table as the plugin reads it (firmware/qemu_plugin/timing.c).

        Args:
            flash: memory with wait states; `None` for none.
        """
        lines = [f"pipeline {self.pipeline}"]
        lines += [
            f"rule {row.kind} {row.cycles} {row.per_register} {row.maximum} {row.latency} {row.refill}"
            for row in self.rules
        ]
        lines += [f"effect {row.name} {row.cycles}" for row in self.effects]
        if flash is not None:
            place = f"{flash.region.base:x} {flash.region.end:x} {flash.line}"
            lines.append(f"memory {place} {flash.wait} {flash.code_lines} {flash.data_lines}")
        return "\n".join([*lines, ""])

    def conditions(self, flash: Flash | None = None) -> str:
        """What its cycles hold for, as a report says it."""
        memory = "zero wait states" if flash is None else flash.conditions()
        exact = "approximate model" if self.approximate else "model"
        return f"{exact} of the {self.title} ({self.document}); {memory}"


def names() -> tuple[str, ...]:
    """The cores that have a table, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name: str) -> Timing:
    """The table of a core.

    Raises:
        UsageError: there is none.
        InvalidTargetFile: it is damaged.
    """
    if name not in names():
        raise UsageError("there is no table of timing for this core", got=name, expected="one of " + ", ".join(names()))
    path = FOLDER / f"{name}.toml"
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, source: str) -> Timing:
    """Read a table from TOML text.

    Args:
        text: the file's content.
        source: its path, for messages; the stem must be the table's name.

    Raises:
        InvalidTargetFile: not TOML, or values are wrong.
    """
    try:
        timing = Timing.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InvalidTargetFile("a table of timing is damaged", where=source, got=str(error)) from error
    if timing.name != Path(source).stem:
        raise InvalidTargetFile("a table of timing has another name than its file", where=source, got=timing.name)
    return timing
