/* SPDX-License-Identifier: Apache-2.0
 *
 * TCG plugin: counts instructions, and where a table of timing is given cycles, per range of addresses.
 *
 *   -plugin count.so,ranges=FILE,out=FILE[,phases=FILE][,timing=FILE][,mode=inference|functions]
 *
 * A line of the ranges file is "START END ID", numbers in hexadecimal, END exclusive; the first range that holds an
 * address decides.
 *
 * mode=inference counts the first call of one function:
 *   ID 0   the entry function (net_run); the first START with ID 0 is the entry point, where counting begins
 *   ID 1   the harness: everything that may call the entry function; reaching it ends the count
 *   ID 2.. the layers' functions, or parts of them
 * Code in a range makes its ID the current one; code in no range (memcpy, libgcc, static helpers) counts for the current ID.
 * Recursion through the harness does not exist: the bench calls the network, never the other way round.
 *
 * A file of phases has lines "START END PHASE", PHASE from 1 on: parts of layers, and functions that several layers share.
 * Code in a layer that has none is phase 0; code in no range and without a phase belongs to the phase that called it.
 *
 * mode=functions counts the whole program: a call of a range's first address makes its ID the current one until it
 * returns, whatever else is called meanwhile, other ranges' functions excepted. ID 0 is the rest of the program.
 *
 * A block is split where the ID changes, and each part counts when its first instruction runs. Blocks end at branches, so a
 * part runs as a whole, unless an instruction in it faults - and then there is no result. An Arm instruction whose
 * condition is false counts, as it does on the core's own instruction stream. A part that is not followed by the next
 * address was left by a jump, which the timing charges then.
 *
 * The output file is written at exit: "entered N", "finished N", "unknown N" (executed instructions that the decoder does
 * not know), "blind N" (divides and long multiplies whose operands could not be read), "causes NAME..." with a timing, then
 * "ID PHASE COUNT" per ID and phase, decimal, with a timing followed by the cycles and, per cause, by those beyond one per
 * instruction. */
#include "memory.h"
#include "qemu_api.h"
#include "ranges.h"
#include "registers.h"
#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_HARNESS 1u
#define ID_OUTSIDE 0xffffffffu
#define MAX_DEPTH 1024u

QEMU_EXPORT int qemu_plugin_version = QEMU_API_VERSION;

/* What one callback needs: made at translation, lives as long as QEMU. */
typedef struct {
    uint64_t start;
    uint64_t end;
    uint32_t id;
    uint32_t phase;      /* 0 in code of no range: that of the caller */
    uint32_t instructions;
    int extra[CAUSE_COUNT];
    uint32_t unknown;
    int refill;          /* cycles, if the part is left by a jump */
    int not_taken;       /* cycles, if it is not */
    int wide_target;     /* cycles, if it is entered by a jump */
    uint8_t is_entry;
    uint8_t is_call;     /* its last instruction is one */
} part_t;

/* An instruction whose cycles depend on what it works on. */
typedef struct {
    instruction_t instruction;
    int if_executed;
    enum cause cause;
    int can_read;        /* whether its operands' values are at hand */
    uint64_t seen;       /* execution in which `if_executed` was charged */
} access_t;

typedef struct {
    uint64_t address;
    uint32_t id;
} frame_t;

typedef struct {
    uint64_t instructions;
    int64_t extra[CAUSE_COUNT];
} count_t;

enum state { WAITING, COUNTING, DONE };

static enum state state = WAITING;
static int by_function;
static uint32_t current;
static uint32_t phase;
static count_t counts[MAX_IDS][MAX_PHASES];
static frame_t frames[MAX_DEPTH];
static unsigned depth;
static const part_t *last_part;
static uint64_t executions;
static uint64_t entered;
static uint64_t finished;
static uint64_t unknown;
static uint64_t blind;
static const char *out_path;

static void *make(size_t bytes)
{
    void *made = calloc(1, bytes);
    if (made == NULL) {
        abort();
    }
    return made;
}

/* The current ID in mode=functions, after a jump from one part to another. */
static void follow_calls(const part_t *from, const part_t *to)
{
    if (from->is_call && depth < MAX_DEPTH) {
        frames[depth++] = (frame_t){from->end, current};
    } else if (depth > 0u && frames[depth - 1u].address == to->start) {
        current = frames[--depth].id;
        return;
    }
    if (to->is_entry) {
        current = to->id;
    }
}

static void charge_transition(const part_t *from, const part_t *to)
{
    int64_t *extra = counts[current][phase].extra;
    if (to->start == from->end) {
        extra[CAUSE_BRANCH] += from->not_taken;
    } else if (from->refill > 0) {
        extra[CAUSE_BRANCH] += from->refill + to->wide_target;
    }
}

static void executed(unsigned int vcpu, void *data)
{
    const part_t *part = data;
    const part_t *from = last_part;
    (void)vcpu;
    if (state == DONE) {
        return;
    }
    if (state == WAITING) {
        if (!part->is_entry && !by_function) {
            return;
        }
        state = COUNTING;
        entered++;
        from = NULL;
    }
    if (from != NULL) {
        charge_transition(from, part);
        if (by_function && part->start != from->end) {
            follow_calls(from, part);
        }
    }
    last_part = part;
    executions++;
    if (!by_function) {
        if (part->id == ID_HARNESS) {
            state = DONE;
            finished++;
            return;
        }
        if (part->id != ID_OUTSIDE) {
            current = part->id;
        }
        if (part->id != ID_OUTSIDE || part->phase != 0u) {
            phase = part->phase;
        }
    }
    count_t *count = &counts[current][phase];
    count->instructions += part->instructions;
    unknown += part->unknown;
    for (int i = 0; i < CAUSE_COUNT; i++) {
        count->extra[i] += part->extra[i];
    }
    if (memory_is_slow()) {
        count->extra[CAUSE_WAIT] += memory_fetch(part->start, part->end - 1u);
    }
}

static void accessed(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    access_t *access = data;
    (void)vcpu;
    if (state != COUNTING) {
        return;
    }
    int64_t *extra = counts[current][phase].extra;
    const unsigned bytes = 1u << qemu_plugin_mem_size_shift(info);
    /* QEMU 7.2 may hand the elements of a later vector instruction to the callback of an earlier scalar one. */
    if (access->instruction.access != 0u && bytes != access->instruction.access) {
        return;
    }
    extra[CAUSE_UNALIGNED] += timing_unaligned(address, access->instruction.access);
    extra[CAUSE_WAIT] += memory_read(address);
    if (access->if_executed != 0 && access->seen != executions) {
        access->seen = executions;
        extra[access->cause] += access->if_executed;
    }
}

static void operated(unsigned int vcpu, void *data)
{
    const access_t *access = data;
    const instruction_t *instruction = &access->instruction;
    uint32_t left;
    uint32_t right;
    (void)vcpu;
    if (state != COUNTING) {
        return;
    }
    if (!access->can_read || !register_value(instruction->left, &left) || !register_value(instruction->right, &right)) {
        blind++;
        left = instruction->class == CLASS_DIVIDE ? UINT32_MAX >> instruction->is_signed : 0xffffu; /* half-way */
        right = instruction->class == CLASS_DIVIDE ? 0x10000u : 0xffffu;
    }
    counts[current][phase].extra[access->cause] += timing_operands(instruction, left, right);
}

/* Ask for the addresses or operands of an instruction whose cycles depend on them. */
static void watch(struct qemu_plugin_insn *insn, const instruction_t *instruction, const cost_t *cost, int can_read)
{
    const enum cause cause = cost->cause;
    const int sized = instruction->access > 1u && timing.effects[EFFECT_UNALIGNED_WORD] > 0;
    const int memory = cause == CAUSE_LOAD || cause == CAUSE_STORE;
    const int operands = timing.rules[instruction->class].maximum > 0;
    if (!operands && !(memory && (sized || memory_is_slow() || cost->if_executed != 0))) {
        return;
    }
    access_t *access = make(sizeof *access);
    access->instruction = *instruction;
    access->if_executed = cost->if_executed;
    access->cause = cause;
    access->can_read = can_read;
    if (operands) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, operated, QEMU_PLUGIN_CB_R_REGS, access);
    } else {
        qemu_plugin_register_vcpu_mem_cb(insn, accessed, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, access);
    }
}

static int backward(const struct qemu_plugin_insn *insn, const instruction_t *instruction)
{
    const uint8_t *code = qemu_plugin_insn_data(insn);
    /* The displacement's sign: bit 7 of the short form, bit 26 of the long one. */
    return instruction->class == CLASS_BRANCH_CONDITIONAL && (instruction->size == 2u ? code[0] >> 7 : code[1] >> 2 & 1u);
}

/* Where an instruction ends is for the decoder to say: near the end of a page QEMU's size covers a look ahead as well. */
static void add_timing(part_t *part, stream_t *stream, struct qemu_plugin_insn *insn)
{
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    instruction_t instruction;
    cost_t cost;
    thumb_decode(qemu_plugin_insn_data(insn), &instruction);
    const int can_read = timing_can_read(stream, &instruction);
    timing_next(stream, &instruction, &cost);
    watch(insn, &instruction, &cost, can_read);
    const enum effect refill = timing.rules[instruction.class].refill;
    for (int i = 0; i < CAUSE_COUNT; i++) {
        part->extra[i] += cost.extra[i];
    }
    if (part->instructions == 0u) {
        part->wide_target = instruction.size == 4u && (address & 3u) != 0u ? timing.effects[EFFECT_REFILL_WIDE_TARGET] : 0;
    }
    part->refill = refill == EFFECT_COUNT ? 0 : timing.effects[refill];
    part->not_taken = backward(insn, &instruction) ? timing.effects[EFFECT_LOOP_EXIT] : 0;
    part->is_call = instruction.class == CLASS_CALL || instruction.class == CLASS_CALL_REGISTER;
    part->unknown += instruction.class == CLASS_UNKNOWN;
    part->end = address + instruction.size;
}

static void translated(qemu_plugin_id_t plugin, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    const range_t *range = NULL;
    part_t *part = NULL;
    stream_t stream;
    (void)plugin;
    memset(&stream, 0, sizeof stream);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        range = ranges_find(address);
        const uint32_t id = range == NULL ? ID_OUTSIDE : range->id;
        const uint32_t in_phase = ranges_phase(address);
        const int is_entry = by_function ? range != NULL && range->start == address : address == ranges_entry();
        if (part == NULL || part->id != id || part->phase != in_phase || is_entry) {
            part = make(sizeof *part);
            part->id = id;
            part->phase = in_phase;
            part->is_entry = (uint8_t)is_entry;
            part->start = address;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, QEMU_PLUGIN_CB_NO_REGS, part);
        }
        if (timing.loaded || by_function) {
            add_timing(part, &stream, insn);
        }
        part->instructions++;
    }
}

static void write_count(FILE *file, uint32_t id, uint32_t in_phase)
{
    const count_t *count = &counts[id][in_phase];
    int64_t cycles = (int64_t)count->instructions;
    for (int i = 0; i < CAUSE_COUNT; i++) {
        cycles += count->extra[i];
    }
    if (cycles == 0) {
        return;
    }
    fprintf(file, "%u %u %llu", (unsigned)id, (unsigned)in_phase, (unsigned long long)count->instructions);
    if (timing.loaded) {
        fprintf(file, " %lld", (long long)cycles);
        for (int i = 0; i < CAUSE_COUNT; i++) {
            fprintf(file, " %lld", (long long)count->extra[i]);
        }
    }
    fprintf(file, "\n");
}

static void finish(qemu_plugin_id_t plugin, void *data)
{
    (void)plugin;
    (void)data;
    FILE *file = fopen(out_path, "w");
    if (file == NULL) {
        fprintf(stderr, "count: cannot write %s\n", out_path);
        return;
    }
    fprintf(file, "entered %llu\nfinished %llu\n", (unsigned long long)entered, (unsigned long long)finished);
    if (timing.loaded) {
        fprintf(file, "unknown %llu\nblind %llu\ncauses", (unsigned long long)unknown, (unsigned long long)blind);
        for (int i = 0; i < CAUSE_COUNT; i++) {
            fprintf(file, " %s", cause_names[i]);
        }
        fprintf(file, "\n");
    }
    for (uint32_t id = 0; id < MAX_IDS; id++) {
        for (uint32_t in_phase = 0; in_phase < MAX_PHASES; in_phase++) {
            write_count(file, id, in_phase);
        }
    }
    fclose(file);
}

QEMU_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    const char *ranges_path = NULL;
    const char *phases_path = NULL;
    const char *timing_path = NULL;
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "ranges=", 7) == 0) {
            ranges_path = argv[i] + 7;
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out_path = argv[i] + 4;
        } else if (strncmp(argv[i], "phases=", 7) == 0) {
            phases_path = argv[i] + 7;
        } else if (strncmp(argv[i], "timing=", 7) == 0) {
            timing_path = argv[i] + 7;
        } else if (strcmp(argv[i], "mode=functions") == 0) {
            by_function = 1;
        }
    }
    if (ranges_path == NULL || out_path == NULL) {
        fprintf(stderr, "count: needs ranges=FILE and out=FILE\n");
        return -1;
    }
    /* The arguments do not outlive this call. */
    out_path = strdup(out_path);
    if (out_path == NULL || ranges_read(ranges_path, !by_function) != 0) {
        return -1;
    }
    if ((phases_path != NULL && ranges_read_phases(phases_path) != 0) || (timing_path != NULL && timing_read(timing_path) != 0)) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
