/* SPDX-License-Identifier: Apache-2.0
 *
 * What instructions cost on one core, by a table; see targets/timing/README.md for the form of the tables. */
#ifndef PLINIO_TIMING_H
#define PLINIO_TIMING_H

#include "thumb.h"

/* Where the cycles beyond one per instruction go. PAIRED is what is saved: folded or issued in pairs. */
#define CAUSES(X) X(ARITHMETIC, arithmetic) X(LOAD, load) X(STORE, store) X(BRANCH, branch) X(ADDRESS, address) \
    X(OPERAND, operand) X(UNALIGNED, unaligned) X(WAIT, wait) X(PAIRED, paired)

enum cause {
#define X(id, name) CAUSE_##id,
    CAUSES(X)
#undef X
    CAUSE_COUNT
};

#define EFFECTS(X) \
    X(PIPELINED, pipelined) \
    X(ADDRESS_AFTER_RESULT, address_after_result) \
    X(IF_THEN_FOLDED, if_then_folded) \
    X(REFILL_DIRECT, refill_direct) \
    X(REFILL_REGISTER, refill_register) \
    X(REFILL_LOAD, refill_load) \
    X(REFILL_WIDE_TARGET, refill_wide_target) \
    X(UNALIGNED_HALF, unaligned_half) \
    X(UNALIGNED_WORD, unaligned_word) \
    X(UNALIGNED_WORD_BYTE, unaligned_word_byte) \
    X(LOOP_EXIT, loop_exit) \
    X(ISSUE_WIDTH, issue_width) \
    X(PAIRS_NARROW, pairs_narrow) \
    X(VECTOR_OVERLAP, vector_overlap) \
    X(ADDRESS_LATENCY, address_latency)

enum effect {
#define X(id, name) EFFECT_##id,
    EFFECTS(X)
#undef X
    EFFECT_COUNT
};

typedef struct {
    int cycles;          /* of one instruction */
    int per_register;    /* and for each register in its list */
    int maximum;         /* where operands decide: the most; else 0 */
    int latency;         /* cycles from issue to a result that can be used; scoreboard only */
    enum effect refill;  /* what a jump adds; EFFECT_COUNT: nothing */
} rule_t;

typedef struct {
    int loaded;                 /* whether there is a table */
    int scoreboard;             /* dependences decide, not only neighbours */
    rule_t rules[CLASS_COUNT];
    int effects[EFFECT_COUNT];
} timing_t;

extern timing_t timing;

/* What precedes an instruction in straight-line code. */
typedef struct {
    instruction_t previous;
    int has_previous;
    int conditional;            /* instructions that IT still governs */
    uint32_t in_flight;         /* registers whose values QEMU may not have written back; see timing_can_read */
    long now;                   /* scoreboard: cycle of the last issue */
    long ready[24];             /* cycle in which a register can be used */
    int in_cycle;               /* instructions issued in it */
    int vector_unit;            /* class of the vector instruction whose second half is under way; 0: none */
} stream_t;

/* Cycles beyond one, by cause. `if_executed` are those that an instruction under IT takes only if its condition holds. */
typedef struct {
    int extra[CAUSE_COUNT];
    int if_executed;
    enum cause cause;
} cost_t;

int timing_read(const char *path);

/* Whether QEMU holds the true values of an instruction's operands when it is about to be executed. Within a block it keeps
 * registers to itself, and writes them back before each access to memory and at the block's end. */
int timing_can_read(const stream_t *stream, const instruction_t *instruction);
void timing_next(stream_t *stream, const instruction_t *instruction, cost_t *cost);

/* Cycles that an access of so many bytes costs because its address is no multiple of them. */
int timing_unaligned(uint64_t address, unsigned bytes);

/* Cycles of a divide or long multiply beyond its least, for these operands. */
int timing_operands(const instruction_t *instruction, uint32_t left, uint32_t right);

enum cause timing_cause(unsigned class);
extern const char *const cause_names[CAUSE_COUNT];

#endif
