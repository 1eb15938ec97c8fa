# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.elf import Image, Section, Symbol
from plinio_deploy.targets.runners import faults, wire

IMAGE = Image(
    (Section(".stack", 0x2000_0000, 0x1000, "stack"),),
    (Symbol("net_run", 0x100, 0x40, "code"), Symbol("net_l00", 0x200, 0x40, "code")),
)


def fault(
    *, exception: int = 3, pc: int = 0x204, cause: int = 0, lr: int = 0x111, sp: int = 0x2000_0800
) -> DeviceError:
    line = (
        f"PLINIO-FAULT exception={exception:08x} pc={pc:08x} cause={cause:08x} address=f0000000 lr={lr:08x} sp={sp:08x}"
    )
    return wire.exit_failure(20, f"before\n{line}\nafter", IMAGE)


@pytest.mark.parametrize(
    ("exception", "cause", "words"),
    [
        (3, 0x0001_0000, "undefined instruction"),
        (3, 0x0000_8200, "access to an address where nothing is"),
        (3, 0x0100_0000, "unaligned access"),
        (3, 0, "HardFault"),
        (0, 2, "illegal instruction"),
        (0, 5, "load access fault"),
        (0, 77, "trap 77"),
    ],
)
def test_causes_in_words(exception: int, cause: int, words: str) -> None:
    error = fault(exception=exception, cause=cause)
    assert error.what == f"the processor took a fault: {words} in net_l00+0x4"
    assert error.where == "called from net_run+0x10"
    assert "address=0xf0000000" in str(error.got)


def test_a_caller_that_is_no_function_is_not_named() -> None:
    assert fault(lr=0x9999_0000).where is None


@pytest.mark.parametrize(("sp", "over"), [(0x1FFF_FFF0, True), (0x2000_0000, False), (0x2000_1000, False)])
def test_a_stack_pointer_outside_the_stack_is_an_overflow(sp: int, over: bool) -> None:
    assert (fault(sp=sp).what == "the stack overflowed") is over


def test_other_lines_are_not_taken_for_a_fault() -> None:
    assert faults.LINE.search("PLINIO-FAULT exception=3") is None
