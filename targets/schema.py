# SPDX-License-Identifier: Apache-2.0
"""What a target is: the shape of `targets/boards/*.toml` and of users' own files.

Reading checks everything at once: one `InvalidTargetFile` lists every mistake with its place in the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from plinio_deploy.errors import InvalidTargetFile

Family = Literal["host", "arm", "riscv"]
"""Names the folder `firmware/ports/<family>`."""

Feature = Literal["dsp", "mve", "thumb1", "thumb2", "rv32im", "xpulp"]
"""What kernels may rely on; `plinio_deploy.codegen` gets them as `Options.isa`."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Word = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\s,]+$")]
Line = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\n]+$")]
Address = Annotated[int, Field(ge=0, lt=1 << 32)]
Size = Annotated[int, Field(gt=0, le=1 << 32)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Region(_Table):
    """A range of addresses.

    Attributes:
        base: first address, a multiple of 16.
        size: bytes, a multiple of 16.
    """

    base: Annotated[Address, Field(multiple_of=16)]
    size: Annotated[Size, Field(multiple_of=16)]

    @property
    def end(self) -> int:
        """First address behind the region."""
        return self.base + self.size

    def overlaps(self, other: Region) -> bool:
        """Whether the two share an address."""
        return self.base < other.end and other.base < self.end


class Memory(_Table):
    """What the firmware may use.

    Attributes:
        flash: code, constants, and the first values of variables.
        ram: variables (the arena is one) and the stack.
        stack: bytes of RAM for the stack.
        window: where the harness puts the request and takes the response; only for ports without semihosting.
    """

    flash: Region
    ram: Region
    stack: Annotated[Size, Field(multiple_of=16)]
    window: Region | None = None

    @model_validator(mode="after")
    def _apart(self) -> Memory:
        regions = {"flash": self.flash, "ram": self.ram, "window": self.window}
        named = [(name, region) for name, region in regions.items() if region is not None]
        for index, (name, region) in enumerate(named):
            if region.end > 1 << 32:
                raise ValueError(f"{name} ends at {region.end:#x}, above 4 GiB")
            for other_name, other in named[index + 1 :]:
                if region.overlaps(other):
                    raise ValueError(f"{name} and {other_name} overlap")
        if self.stack >= self.ram.size:
            raise ValueError(f"stack ({self.stack} bytes) must be smaller than ram.size ({self.ram.size} bytes)")
        return self


class Qemu(_Table):
    """How QEMU plays the target.

    Attributes:
        system: which emulator: `qemu-system-<system>`.
        machine: its `-machine`.
        cpu: its `-cpu`; left out, the machine's own.
        ram: bytes of `-m`; left out, the machine's own. Needed with a memory window. QEMU's "virt" machine puts its
            device tree into the last 16 MiB.
        ram_base: address of the first of them. Needed with a memory window.
        timing: a core with a table in `targets/timing`, by which cycles are modelled; left out, cycles are not known.
        flash_wait: cycles that the model charges for an access to flash beyond one.
        flash_line: bytes that come with one such access.
        flash_code_lines: lines of code that are held: 1 is the fetch buffer, more a cache.
        flash_data_lines: lines of data that are held.
    """

    system: Literal["arm", "riscv32"]
    machine: Word
    cpu: Word | None = None
    ram: Size | None = None
    ram_base: Address | None = None
    timing: Word | None = None
    flash_wait: Annotated[int, Field(ge=0, le=255)] = 0
    flash_line: Annotated[int, Field(ge=4, le=256)] = 16
    flash_code_lines: Annotated[int, Field(ge=1, le=256)] = 1
    flash_data_lines: Annotated[int, Field(ge=0, le=256)] = 0

    @model_validator(mode="after")
    def _timed(self) -> Qemu:
        if self.timing is not None and self.system != "arm":
            raise ValueError("timing is known for Arm cores only")
        return self


class Rtl(_Table):
    """How a core is simulated.

    Attributes:
        core: one of `targets.rtl.cores`.
        parameters: of the core's wrapper in `firmware/rtl`.
        fetch_wait: wait states of every instruction fetch; 0: one fetch per cycle.
        data_wait: wait states of every load and store.
    """

    core: Literal["cv32e40p", "ibex", "picorv32"]
    parameters: dict[Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")], Annotated[int, Field(ge=0)]] = {}
    fetch_wait: Annotated[int, Field(ge=0, le=255)] = 0
    data_wait: Annotated[int, Field(ge=0, le=255)] = 0


class Target(_Table):
    """One board, core or machine that firmware is built for and measured on.

    Attributes:
        name: what `--target` takes; equal to the file's name without `.toml`.
        description: one line for `targets list`.
        isa: instruction set, as its maker writes it, e.g. `armv7e-m` or `rv32imc`.
        family: which port of the firmware it takes: start code, linker script, request and response.
        toolchain: name of a compiler in `targets.toolchains`.
        features: parts of the instruction set that generated kernels may use; none: portable C. `dsp` is the DSP
            extension of Armv7E-M and Armv8-M, `mve` its vectors, `thumb1` and `thumb2` cores without either, `rv32im`
            RISC-V with multiplication, `xpulp` the PULP extension of CV32E40P.
        flags: what selects the core, given to every compilation and to the linker.
        runner: what executes the firmware: `host`, `qemu`, `rtl`, or `none` for a board that is only built for.
        memory: the memory map; every family but `host` needs one.
        qemu: how to emulate it, where the runner is `qemu`.
        rtl: how to simulate it, where the runner is `rtl`.
        source: where the description came from: a path. Not part of the file.
    """

    name: Name
    description: Line
    isa: Word
    family: Family
    toolchain: Literal["gcc-host", "gcc-arm", "gcc-riscv"]
    features: Annotated[tuple[Feature, ...], Field(strict=False)] = ()
    flags: Annotated[tuple[Word, ...], Field(strict=False)] = ()
    runner: Literal["host", "qemu", "rtl", "none"]
    memory: Memory | None = None
    qemu: Qemu | None = None
    rtl: Rtl | None = None
    source: str = Field(default="", exclude=True)

    @property
    def counts(self) -> bool:
        """Whether its runner counts instructions, cycles or both."""
        return self.runner in ("qemu", "rtl")

    @property
    def tells_cycles(self) -> bool:
        """Whether its runner tells cycles: from RTL, or by a model of the core."""
        return self.rtl is not None or (self.qemu is not None and self.qemu.timing is not None)

    @model_validator(mode="after")
    def _complete(self) -> Target:
        if self.family != "host" and self.memory is None:
            raise ValueError(f"family {self.family!r} needs the tables memory.flash and memory.ram")
        if self.family == "host" and self.memory is not None:
            raise ValueError("family 'host' has no memory table: the operating system maps the program")
        if (self.runner == "qemu") != (self.qemu is not None):
            raise ValueError("runner 'qemu' and the table qemu need each other")
        if (self.runner == "rtl") != (self.rtl is not None):
            raise ValueError("runner 'rtl' and the table rtl need each other")
        if self.rtl is not None and self.family != "riscv":
            raise ValueError("runner 'rtl' needs family 'riscv'")
        if (self.runner == "host") != (self.family == "host"):
            raise ValueError("runner 'host' and family 'host' need each other")
        if self.family == "riscv" and self.memory is not None and self.memory.window is None:
            raise ValueError("family 'riscv' needs the table memory.window")
        window = self.memory.window if self.memory is not None else None
        if self.qemu is not None and window is not None:
            if self.qemu.ram is None or self.qemu.ram_base is None:
                raise ValueError("a memory window needs qemu.ram and qemu.ram_base")
            if window.base < self.qemu.ram_base or window.end > self.qemu.ram_base + self.qemu.ram:
                raise ValueError("memory.window must lie within the qemu.ram bytes from qemu.ram_base on")
        return self


def parse(text: str, source: str) -> Target:
    """Read a target from TOML text.

    Args:
        text: the file's content.
        source: the file's path, for messages; its stem must be the target's name.

    Raises:
        InvalidTargetFile: not TOML, or one or more values are wrong; all of them are listed.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidTargetFile(
            "a target file is not valid TOML", where=source, got=str(error), hints=("see targets/README.md",)
        ) from error
    problems = []
    if "source" in table:
        problems.append("source: unknown key")
        del table["source"]
    try:
        target = Target.model_validate({**table, "source": source})
    except ValidationError as error:
        problems.extend(_sentence(detail) for detail in error.errors(include_url=False))
        target = None
    if target is not None and target.name != Path(source).stem:
        problems.append(f"name: must be {Path(source).stem!r}, as the file is called, not {target.name!r}")
    if problems or target is None:
        raise InvalidTargetFile(
            f"a target file has {len(problems)} mistake{'s' if len(problems) != 1 else ''}:\n"
            + "\n".join(f"    {problem}" for problem in problems),
            where=source,
            hints=(
                "compare with `plinio-deploy targets show cortex-m4`",
                "the keys are described in targets/README.md",
            ),
        )
    return target


def _sentence(detail: Mapping[str, object]) -> str:
    """One of pydantic's errors in our words, led by its TOML path."""
    location = detail["loc"]
    assert isinstance(location, tuple)
    path = ".".join(str(part) for part in location)
    context = detail.get("ctx")
    context = context if isinstance(context, Mapping) else {}
    kind, value = str(detail["type"]), detail.get("input")
    known: dict[str, str] = {
        "missing": "must be given",
        "extra_forbidden": "unknown key",
        "literal_error": f"must be one of {context.get('expected')}, not {value!r}",
        "string_type": f"must be a string, not {value!r}",
        "int_type": f"must be a whole number, not {value!r}",
        "tuple_type": f"must be a list, not {value!r}",
        "model_type": f"must be a table, not {value!r}",
        "model_attributes_type": f"must be a table, not {value!r}",
        "multiple_of": f"must be a multiple of {context.get('multiple_of')}, not {value}",
        "greater_than": f"must be greater than {context.get('gt')}, not {value}",
        "greater_than_equal": f"must be at least {context.get('ge')}, not {value}",
        "less_than": f"must be less than {context.get('lt')}, not {value}",
        "less_than_equal": f"must be at most {context.get('le')}, not {value}",
        "string_pattern_mismatch": f"must match {context.get('pattern')}, not {value!r}",
        "string_too_short": "must not be empty",
        "value_error": str(context.get("error", "")),
    }
    text = known.get(kind, str(detail["msg"]))
    return f"{path}: {text}" if path else re.sub(r"\s+", " ", text)
