/* SPDX-License-Identifier: Apache-2.0
 *
 * Thumb instructions as a timing model sees them: a class, the registers, the size of the access. */
#ifndef PLINIO_THUMB_H
#define PLINIO_THUMB_H

#include <stdint.h>

/* Every class, with the part of the cycle count that what exceeds one cycle is booked under. */
#define CLASSES(X) \
    X(UNKNOWN, unknown, ARITHMETIC) \
    X(ALU, alu, ARITHMETIC) \
    X(SHIFT, shift, ARITHMETIC) \
    X(EXTEND, extend, ARITHMETIC) \
    X(SIMD, simd, ARITHMETIC) \
    X(SATURATE, saturate, ARITHMETIC) \
    X(MUL, multiply, ARITHMETIC) \
    X(MLA, multiply_accumulate, ARITHMETIC) \
    X(MUL_DSP, multiply_dsp, ARITHMETIC) \
    X(MUL_LONG, multiply_long, ARITHMETIC) \
    X(MLA_LONG, multiply_accumulate_long, ARITHMETIC) \
    X(DIVIDE, divide, ARITHMETIC) \
    X(LOAD, load, LOAD) \
    X(LOAD_LITERAL, load_literal, LOAD) \
    X(LOAD_DOUBLE, load_double, LOAD) \
    X(LOAD_MULTIPLE, load_multiple, LOAD) \
    X(LOAD_PC, load_pc, LOAD) \
    X(LOAD_MULTIPLE_PC, load_multiple_pc, LOAD) \
    X(POP, pop, LOAD) \
    X(POP_PC, pop_pc, LOAD) \
    X(EXCLUSIVE, exclusive, LOAD) \
    X(STORE, store, STORE) \
    X(STORE_REGISTER, store_register, STORE) \
    X(STORE_DOUBLE, store_double, STORE) \
    X(STORE_MULTIPLE, store_multiple, STORE) \
    X(PUSH, push, STORE) \
    X(BRANCH, branch, BRANCH) \
    X(BRANCH_CONDITIONAL, branch_conditional, BRANCH) \
    X(COMPARE_BRANCH, compare_branch, BRANCH) \
    X(CALL, call, BRANCH) \
    X(BRANCH_REGISTER, branch_register, BRANCH) \
    X(CALL_REGISTER, call_register, BRANCH) \
    X(MOVE_PC, move_pc, BRANCH) \
    X(TABLE_BRANCH, table_branch, BRANCH) \
    X(LOOP_START, loop_start, BRANCH) \
    X(LOOP_END, loop_end, BRANCH) \
    X(IF_THEN, if_then, ARITHMETIC) \
    X(NOP, nop, ARITHMETIC) \
    X(BARRIER, barrier, ARITHMETIC) \
    X(SPECIAL, special_register, ARITHMETIC) \
    X(EXCEPTION, exception, ARITHMETIC) \
    X(FP, float, ARITHMETIC) \
    X(FP_MAC, float_multiply_accumulate, ARITHMETIC) \
    X(FP_DIVIDE, float_divide, ARITHMETIC) \
    X(FP_LOAD, float_load, LOAD) \
    X(FP_STORE, float_store, STORE) \
    X(FP_LOAD_MULTIPLE, float_load_multiple, LOAD) \
    X(FP_STORE_MULTIPLE, float_store_multiple, STORE) \
    X(VECTOR, vector, ARITHMETIC) \
    X(VECTOR_MAC, vector_multiply, ARITHMETIC) \
    X(VECTOR_LOAD, vector_load, LOAD) \
    X(VECTOR_STORE, vector_store, STORE)

enum instruction_class {
#define X(id, name, cause) CLASS_##id,
    CLASSES(X)
#undef X
    CLASS_COUNT
};

/* Registers are bits of a mask: r0 to r15 at 0 to 15, q0 to q7 at 16 to 23. */
typedef struct {
    uint32_t writes;    /* all that change */
    uint32_t loaded;    /* of those, what comes from memory: not a base that is written back */
    uint32_t reads;     /* data operands */
    uint32_t address;   /* operands of the address */
    uint8_t class;
    uint8_t size;       /* bytes of code: 2 or 4 */
    uint8_t access;     /* bytes of one access that may be unaligned; else 0 */
    uint8_t count;      /* registers in the list */
    uint8_t then;       /* IT: how many instructions it governs */
    uint8_t is_signed;  /* divides */
    uint8_t left;       /* divides and long multiplies: numbers of the operands' registers */
    uint8_t right;
} instruction_t;

/* Decode the instruction at `code`. What is not known has the class UNKNOWN. Only as many bytes are read as it has. */
void thumb_decode(const uint8_t *code, instruction_t *instruction);

/* The number of a class by its name; -1 if there is none. */
int thumb_class(const char *name);

#endif
