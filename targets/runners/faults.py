# SPDX-License-Identifier: Apache-2.0
"""Reads the line that a port prints when the processor takes a fault (firmware/ports/*), and says it in words."""

from __future__ import annotations

import re

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.elf import Image

LINE = re.compile(
    r"PLINIO-FAULT exception=(?P<exception>[0-9a-f]{8}) pc=(?P<pc>[0-9a-f]{8}) cause=(?P<cause>[0-9a-f]{8}) "
    r"address=(?P<address>[0-9a-f]{8}) lr=(?P<lr>[0-9a-f]{8}) sp=(?P<sp>[0-9a-f]{8})"
)
"""The line; RISC-V has no exception number and prints 0."""

HINT = (
    "run the same network on the host target under a debugger, or with -fsanitize=address,undefined, to find the access"
)

_RISCV_CAUSES = {
    0: "instruction address misaligned",
    1: "instruction access fault",
    2: "illegal instruction",
    3: "breakpoint",
    4: "load address misaligned",
    5: "load access fault",
    6: "store address misaligned",
    7: "store access fault",
    11: "environment call",
}
"""mcause, from the RISC-V privileged specification."""

_ARM_CAUSES = {
    0: "instruction fetch from forbidden memory",
    1: "access to forbidden memory",
    8: "instruction fetch from nowhere",
    9: "access to an address where nothing is",
    10: "store to an address where nothing is, reported late",
    16: "undefined instruction",
    17: "jump to an even address",
    19: "the FPU is switched off",
    20: "stack overflow",
    24: "unaligned access",
    25: "division by zero",
}
"""Bits of CFSR that name a cause, from the Armv7-M and Armv8-M reference manuals; ARMv6-M has no such register."""


def error(match: re.Match[str], image: Image) -> DeviceError:
    """The error for a line that `LINE` matched.

    Args:
        match: the match.
        image: the firmware, to name functions.
    """
    values = {name: int(text, 16) for name, text in match.groupdict().items()}
    registers = " ".join(f"{key}={values[key]:#010x}" for key in ("pc", "lr", "sp", "cause", "address"))
    stack = next((section for section in image.sections if section.kind == "stack"), None)
    if stack is not None and not stack.address <= values["sp"] <= stack.address + stack.size:
        return DeviceError(
            "the stack overflowed",
            got=registers,
            expected=f"at most {stack.size} bytes of stack",
            hints=("enlarge memory.stack in the target's file",),
        )
    if values["exception"] != 0:
        name = next((text for bit, text in _ARM_CAUSES.items() if values["cause"] >> bit & 1), "HardFault")
    else:
        name = _RISCV_CAUSES.get(values["cause"], f"trap {values['cause']}")
    caller = image.locate(values["lr"])
    return DeviceError(
        f"the processor took a fault: {name} in {image.locate(values['pc'])}",
        where=f"called from {caller}" if "+" in caller else None,
        got=registers,
        hints=(HINT,),
    )
