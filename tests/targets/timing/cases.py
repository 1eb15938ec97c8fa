# SPDX-License-Identifier: Apache-2.0
"""Snippets whose cycles follow by hand from the manuals' tables.

Each case names the rows of the table that it exercises. Registers at the start: r0 to r4 and r7 point into a buffer,
r5 is 7, r6 is 8. `returns` marks snippets that leave the function themselves; otherwise `bx lr` follows, which the test
takes off.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A snippet, its cycles, and the rows that say so."""

    name: str
    code: str
    cycles: int
    rows: tuple[str, ...]
    returns: bool = False


def _case(rows: str, code: str, cycles: int, *, returns: bool = False) -> tuple[str, str, int, bool]:
    return rows, code.replace(";", "\n"), cycles, returns


_CALL = "mov r3, lr; bl 1f; mov lr, r3; b 2f; 1: bx lr; 2:"
_CALL_REGISTER = "mov r3, lr; ldr r0, =1f + 1; blx r0; mov lr, r3; b 2f; .thumb_func; 1: bx lr; 2:"
_BLOCK = "b 1f; nop; .balign 8; 1:"
"""Ends QEMU's block, so that values of registers can be read, and goes on at an aligned address."""

_LOOP = "movs r5, #10; 1: subs r5, #1; bne 1b"


def _simple() -> list[tuple[str, str, int, bool]]:
    """What takes one cycle on every core."""
    return [
        _case("alu", "adds r0, r1, r2", 1),
        _case("alu", "movs r0, #5; cmp r0, r5; tst r0, r5; mvns r0, r5", 4),
        _case("alu", "add r0, sp, #16; add r0, r8; mov r9, r0", 3),
        _case("shift", "lsls r0, r5, #3; lsrs r0, r6; rev r0, r5", 3),
        _case("extend", "sxtb r0, r5; uxth r0, r5", 2),
        _case("multiply", "muls r0, r5, r0", 1),
        _case("nop", "nop; nop", 2),
    ]


def _m0(refill: int, by_load: int, special: int) -> list[tuple[str, str, int, bool]]:
    """The Cortex-M0 and M0+; refill is what a taken branch adds."""
    return [
        *_simple(),
        _case("load", "ldr r0, [r1]; ldrh r0, [r1, #2]; ldrb r0, [r1, r6]; ldrsh r0, [r1, r6]", 8),
        _case("load_literal", "ldr r0, =0x12345678", 2),
        _case("store store_register", "str r0, [r1]; strh r0, [r1, r6]; strb r0, [r1]", 6),
        _case("store_multiple", "stmia r1!, {r2-r5}", 5),
        _case("load_multiple", "ldmia r1!, {r2}; ldmia r1!, {r2-r4}", 2 + 4),
        _case("push pop", "push {r0-r3}; pop {r0-r3}", 5 + 5),
        _case("push pop_pc refill_load", "push {r4, lr}; pop {r4, pc}", 3 + 3 + by_load, returns=True),
        _case("branch refill_direct", "b 1f; nop; 1:", 1 + refill),
        _case("branch_conditional", _LOOP, 1 + 10 + 9 * (1 + refill) + 1),
        _case("branch_conditional", "cmp r5, #7; bne 1f; nop; 1:", 3),
        _case("call branch_register", _CALL, 1 + (2 + refill) + (1 + refill) + 1 + (1 + refill)),
        _case("call_register", _CALL_REGISTER, 1 + 2 + (1 + refill) + (1 + refill) + 1 + (1 + refill)),
        _case("move_pc refill_register", "mov pc, lr", 1 + refill, returns=True),
        _case("special_register", "mrs r0, apsr", special),
        _case("barrier", "dmb; isb", 2 * special),
    ]


_LOADS = [
    _case("load", "ldr r0, [r1]", 2),
    _case("load", "ldrsb r0, [r1, #1]", 2),
    _case("load pipelined", "ldr r0, [r1]; ldr r1, [r2]", 3),
    _case("load store pipelined", "ldr r0, [r1, r6]; str r0, [r3, #20]", 3),
    _case("store_register pipelined", "ldr r0, [r1, r6]; str r1, [r3, r6]", 3),
    _case("load pipelined", "ldr r0, [r1, r6]; ldr r1, [r2]; ldr r2, [r3, #4]", 4),
    _case("load pipelined", "ldr r0, [r1], #4; ldr r2, [r1]", 3),
    _case("load pipelined", "str r1, [r1]; ldr r0, [r1]; ldr r0, [r0]", 1 + 2 + 2),
    _case("load pipelined", "str r1, [r1]; ldr r1, [r1]; ldr r0, [r1]", 1 + 2 + 2),
    _case("load", "ldr r0, [r1]; adds r0, #1; ldr r1, [r2]", 2 + 1 + 2),
    _case("load_literal", "ldr r0, =0x12345678", 2),
    _case("load_literal pipelined", "ldr r0, =0x12345678; ldr r1, [r2]", 3),
    _case("address_after_result", "adds r0, r1, #4; ldr r2, [r0]", 1 + 2 + 1),
    _case("address_after_result", "adds r0, r1, #4; str r2, [r0]", 1 + 1 + 1),
    _case("address_after_result", "adds r0, r1, #4; movs r3, #0; ldr r2, [r0]", 1 + 1 + 2),
    _case("store", "str r0, [r1]; strb r0, [r1, #3]", 2),
    _case("store", "str r0, [r1]; ldr r0, [r1]", 3),
    _case("store_register", "str r0, [r1, r6]", 2),
    _case("store_register", "str r0, [r1, r6]; ldr r0, [r1]", 4),
    _case("load_double", "ldrd r0, r3, [r1]", 3),
    _case("load_double", "ldr r0, [r1]; ldrd r2, r3, [r1]; ldr r0, [r1]", 2 + 3 + 2),
    _case("store_double", "strd r0, r3, [r1]", 3),
    _case("load_multiple", "ldmia r1, {r2, r3, r4}", 4),
    _case("load_multiple", "ldr r0, [r1]; ldmia r1, {r2, r3}", 2 + 3),
    _case("store_multiple", "stmia r1, {r2-r9}", 9),
    _case("push pop", "push {r0-r3}; pop {r0-r3}", 5 + 5),
    _case("push pop_pc refill_load", "push {r4, lr}; pop {r4, pc}", 3 + 3 + 3, returns=True),
    _case("load_pc", "str lr, [r1]; ldr pc, [r1]", 1 + 2 + 3, returns=True),
    _case("load_multiple_pc", "str r2, [r1]; str lr, [r1, #4]; ldmia r1, {r2, pc}", 1 + 1 + 3 + 3, returns=True),
    _case("exclusive pipelined", "ldr r0, [r1]; ldrex r2, [r3]", 3),
    _case("unaligned_word", "ldr r0, [r1, #2]", 3),
    _case("unaligned_word_byte", "ldr r0, [r1, #1]", 4),
    _case("unaligned_half", "ldrh r0, [r1, #1]", 3),
    _case("unaligned_half", "ldrh r0, [r1, #2]; ldr r0, [r1, #4]", 3),
]

_BRANCHES = [
    _case("branch refill_direct", "b 1f; nop; 1:", 1 + 1),
    _case("branch_conditional", _LOOP, 1 + 10 + 9 * 2 + 1),
    _case("branch_conditional", "cmp r5, #7; bne 1f; nop; 1:", 3),
    _case("compare_branch", "movs r0, #0; cbz r0, 1f; nop; 1:", 1 + 2),
    _case("compare_branch", "movs r0, #0; cbnz r0, 1f; nop; 1:", 3),
    _case("call branch_register refill_register", _CALL, 1 + 2 + 3 + 1 + 2),
    _case("call_register", _CALL_REGISTER, 1 + 2 + 3 + 3 + 1 + 2),
    _case("move_pc", "mov pc, lr", 1 + 2, returns=True),
    _case("table_branch", "movs r0, #0; nop; tbb [pc, r0]; 3: .byte (1f - 3b) / 2; .byte 0; nop; 1:", 1 + 1 + 6),
    _case("refill_wide_target", "b 1f; nop; 1: add.w r0, r0, r0", 2 + 1),
    _case("refill_wide_target", "b 1f; nop; nop; 1: add.w r0, r0, r0", 2 + 1 + 1),
]

_CONDITIONS = [
    _case("if_then if_then_folded", "cmp r5, #7; it eq; moveq r0, #1", 2),
    _case("if_then", "cmp.w r5, #7; it eq; moveq r0, #1", 3),
    _case("if_then", "cmp r5, #7; ite eq; moveq r0, #1; movne r0, #2", 3),
    _case("if_then load", "cmp r5, #0; it eq; ldreq r0, [r1]", 2),
    _case("if_then load", "cmp r5, #7; it eq; ldreq r0, [r1]", 3),
    _case("if_then load_multiple", "cmp r5, #7; it eq; ldmiaeq r1, {r2, r3}", 1 + 3),
    _case("special_register", "mrs r0, apsr", 2),
    _case("barrier", "dmb", 1),
]


def _m34(kind: str) -> list[tuple[str, str, int, bool]]:
    """The Cortex-M3 and M4."""
    dsp = [
        _case("multiply_accumulate", "mla r0, r5, r6, r0; mls r0, r5, r6, r0", 2),
        _case("multiply_long", "umull r2, r3, r0, r1; smull r2, r3, r0, r1", 2),
        _case("multiply_accumulate_long", "smlal r2, r3, r0, r1; umaal r2, r3, r0, r1", 2),
        _case(
            "multiply_dsp", "smlad r0, r5, r6, r0; smuad r0, r5, r6; smlabb r0, r5, r6, r0; smlawt r0, r5, r6, r0", 4
        ),
        _case("multiply_dsp", "smmulr r0, r5, r6; smlald r2, r3, r5, r6; usada8 r0, r5, r6, r0", 3),
        _case("simd", "sadd16 r0, r5, r6; uqsub8 r0, r5, r6; sel r0, r5, r6; pkhbt r0, r5, r6, lsl #16", 4),
        _case("extend", "sxtb16 r0, r5; sxtab16 r0, r5, r6, ror #8; uxtah r0, r5, r6", 3),
        _case("saturate", "qadd r0, r5, r6; ssat16 r0, #8, r5", 2),
        _case(
            "float", ".fpu fpv4-sp-d16; vadd.f32 s0, s1, s2; vmul.f32 s0, s1, s2; vmov s0, r5; vcvt.f32.s32 s0, s0", 4
        ),
        _case("float_multiply_accumulate", "vmla.f32 s0, s1, s2; vfma.f32 s0, s1, s2", 6),
        _case("float_divide", "vmov.f32 s1, #1.0; vdiv.f32 s0, s1, s1; vsqrt.f32 s0, s1", 1 + 14 + 14),
        _case("float_load float_store", "vldr s0, [r1]; nop; vstr s0, [r1]", 2 + 1 + 2),
        _case("float_load_multiple float_store_multiple", "vstmia r1, {s0-s3}; vldmia r1, {s0-s2}", 5 + 4),
    ]
    plain = [
        _case("multiply_accumulate", "mla r0, r5, r6, r0; mls r0, r5, r6, r0", 4),
        _case("multiply_long", f"movs r0, #0; {_BLOCK}; umull r2, r3, r0, r0", 1 + 2 + 3),
        _case("multiply_long", f"mvn r0, #0; {_BLOCK}; umull r2, r3, r0, r0", 1 + 2 + 5),
        _case("multiply_accumulate_long", f"movs r0, #0; {_BLOCK}; smlal r2, r3, r0, r0", 1 + 2 + 4),
        _case("multiply_accumulate_long", f"mvn r0, #0; {_BLOCK}; umlal r2, r3, r0, r0", 1 + 2 + 7),
    ]
    return [
        *_simple(),
        _case("alu", "movw r0, #4660; movt r0, #1; adc r0, r5, r6; orn r0, r5, #3; teq r5, r6", 5),
        _case("shift", "ubfx r0, r5, #1, #4; bfi r0, r5, #1, #4; clz r0, r5; add r0, r5, r6, lsl #2; rbit r0, r5", 5),
        _case("saturate", "ssat r0, #8, r5; usat r0, #8, r5", 2),
        _case("multiply", "mul r9, r5, r6", 1),
        _case("divide", f"movs r0, #0; {_BLOCK}; sdiv r0, r0, r5", 1 + 2 + 2),
        _case("divide", f"mvn r0, #0; movs r1, #1; {_BLOCK}; udiv r0, r0, r1", 1 + 1 + 2 + 12),
        _case("divide", "sdiv r0, r5, r6", 2),
        *_LOADS,
        *_BRANCHES,
        *_CONDITIONS,
        *(dsp if kind == "cortex-m4" else plain),
    ]


def cases(core: str) -> list[Case]:
    """The cases of a core whose manual gives cycles: cortex-m0, cortex-m0plus, cortex-m3 or cortex-m4."""
    rows = {
        "cortex-m0": _m0(refill=2, by_load=3, special=4),
        "cortex-m0plus": _m0(refill=1, by_load=2, special=3),
        "cortex-m3": _m34("cortex-m3"),
        "cortex-m4": _m34("cortex-m4"),
    }[core]
    return [
        Case(f"case_{index}", code, cycles, tuple(names.split()), returns)
        for index, (names, code, cycles, returns) in enumerate(rows)
    ]
