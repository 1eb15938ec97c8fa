/* SPDX-License-Identifier: Apache-2.0 */
#include "timing.h"

#include "memory.h"

#include <stdio.h>
#include <string.h>

timing_t timing;

const char *const cause_names[CAUSE_COUNT] = {
#define X(id, name) #name,
    CAUSES(X)
#undef X
};

static const char *const effect_names[EFFECT_COUNT] = {
#define X(id, name) #name,
    EFFECTS(X)
#undef X
};

static const uint8_t causes[CLASS_COUNT] = {
#define X(id, name, cause) CAUSE_##cause,
    CLASSES(X)
#undef X
};

enum cause timing_cause(unsigned class)
{
    return (enum cause)causes[class];
}

static int effect_number(const char *name)
{
    for (int i = 0; i < EFFECT_COUNT; i++) {
        if (strcmp(name, effect_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* Lines of the file:
 *   pipeline serial|scoreboard
 *   rule CLASS CYCLES PER_REGISTER MAXIMUM LATENCY REFILL   (REFILL: name of an effect, or none)
 *   effect NAME CYCLES
 *   memory START END LINE WAIT CODE DATA                    (addresses in hexadecimal; see memory.h) */
static int read_line(const char *line)
{
    char name[64];
    char refill[64];
    unsigned long long start, end, bytes;
    unsigned code_lines, data_lines;
    int wait;
    rule_t rule;
    int value;
    if (sscanf(line, "rule %63s %d %d %d %d %63s", name, &rule.cycles, &rule.per_register, &rule.maximum, &rule.latency,
               refill) == 6) {
        const int class = thumb_class(name);
        const int added = effect_number(refill);
        rule.refill = added < 0 ? EFFECT_COUNT : (enum effect)added;
        if (class < 0 || (added < 0 && strcmp(refill, "none") != 0)) {
            return -1;
        }
        timing.rules[class] = rule;
    } else if (sscanf(line, "effect %63s %d", name, &value) == 2) {
        const int effect = effect_number(name);
        if (effect < 0) {
            return -1;
        }
        timing.effects[effect] = value;
    } else if (sscanf(line, "memory %llx %llx %llu %d %u %u", &start, &end, &bytes, &wait, &code_lines, &data_lines) == 6) {
        return memory_configure(start, end, bytes, wait, code_lines, data_lines);
    } else if (sscanf(line, "pipeline %63s", name) == 1) {
        timing.scoreboard = strcmp(name, "scoreboard") == 0;
    } else {
        return -1;
    }
    return 0;
}

int timing_read(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return -1;
    }
    for (int i = 0; i < CLASS_COUNT; i++) {
        timing.rules[i] = (rule_t){1, 0, 0, 1, EFFECT_COUNT};
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (read_line(line) != 0) {
            fprintf(stderr, "count: unknown line in %s: %s", path, line);
            fclose(file);
            return -1;
        }
    }
    fclose(file);
    timing.loaded = 1;
    return 0;
}

static int is_single_load(const instruction_t *instruction)
{
    return instruction->class == CLASS_LOAD || instruction->class == CLASS_LOAD_LITERAL ||
           instruction->class == CLASS_EXCLUSIVE;
}

static int is_single_access(const instruction_t *instruction)
{
    return is_single_load(instruction) || instruction->class == CLASS_STORE || instruction->class == CLASS_STORE_REGISTER;
}

static int is_data_processing(const instruction_t *instruction)
{
    return instruction->class >= CLASS_ALU && instruction->class <= CLASS_DIVIDE;
}

static int least(const instruction_t *instruction)
{
    const rule_t *rule = &timing.rules[instruction->class];
    return rule->cycles + rule->per_register * instruction->count;
}

/* One instruction after the other; only direct neighbours act on each other. */
static void serial(const stream_t *stream, const instruction_t *instruction, cost_t *cost)
{
    const instruction_t *previous = &stream->previous;
    const enum cause cause = timing_cause(instruction->class);
    int cycles = least(instruction);
    if (stream->has_previous && is_single_load(previous) && is_single_access(instruction) && cycles > 1 &&
        (previous->loaded & instruction->address) == 0u) {
        cycles -= timing.effects[EFFECT_PIPELINED];
    }
    cost->extra[cause] += cycles - 1;
    if (!stream->has_previous) {
        return;
    }
    if (is_data_processing(previous) && (previous->writes & instruction->address) != 0u) {
        cost->extra[CAUSE_ADDRESS] += timing.effects[EFFECT_ADDRESS_AFTER_RESULT];
    }
    if (instruction->class == CLASS_IF_THEN && previous->size == 2u) {
        cost->extra[CAUSE_PAIRED] -= timing.effects[EFFECT_IF_THEN_FOLDED];
    }
}

/* What two instructions of one cycle cannot share. */
enum unit { UNIT_ALU, UNIT_SHIFT, UNIT_FIRST_SLOT, UNIT_MEMORY, UNIT_BRANCH, UNIT_VECTOR, UNIT_ALONE };

static enum unit unit_of(const instruction_t *instruction)
{
    const unsigned class = instruction->class;
    if (class == CLASS_ALU || class == CLASS_IF_THEN || class == CLASS_NOP) {
        return UNIT_ALU;
    }
    if (class == CLASS_SHIFT || class == CLASS_EXTEND) {
        return UNIT_SHIFT;
    }
    if ((class >= CLASS_SIMD && class <= CLASS_MLA_LONG) || (class >= CLASS_FP && class <= CLASS_FP_MAC)) {
        return UNIT_FIRST_SLOT;
    }
    if (class >= CLASS_VECTOR) {
        return UNIT_VECTOR;
    }
    if (is_single_access(instruction) || class == CLASS_FP_LOAD || class == CLASS_FP_STORE) {
        return UNIT_MEMORY;
    }
    return class >= CLASS_BRANCH && class <= CLASS_LOOP_END ? UNIT_BRANCH : UNIT_ALONE;
}

static int can_pair(const stream_t *stream, const instruction_t *instruction)
{
    const enum unit first = unit_of(&stream->previous);
    const enum unit second = unit_of(instruction);
    if (!stream->has_previous || stream->in_cycle >= timing.effects[EFFECT_ISSUE_WIDTH] || first == UNIT_ALONE ||
        second == UNIT_ALONE || second == UNIT_FIRST_SLOT || first == UNIT_BRANCH || first == UNIT_VECTOR ||
        second == UNIT_VECTOR) {
        return 0;
    }
    if (timing.effects[EFFECT_PAIRS_NARROW] && (stream->previous.size != 2u || instruction->size != 2u)) {
        return 0;
    }
    if (least(&stream->previous) > 1 || least(instruction) > 1) {
        return 0;
    }
    return first != second || first == UNIT_ALU;
}

static long latest(const stream_t *stream, uint32_t registers)
{
    long cycle = 0;
    for (int i = 0; i < 24; i++) {
        if ((registers >> i & 1u) != 0u && stream->ready[i] > cycle) {
            cycle = stream->ready[i];
        }
    }
    return cycle;
}

static int vector_cycles(stream_t *stream, const instruction_t *instruction, int cycles)
{
    if (instruction->class < CLASS_VECTOR) {
        return cycles;
    }
    /* The second half of one vector instruction runs beside the first half of the next, in another unit. */
    const int overlaps = stream->vector_unit != 0 && stream->vector_unit != instruction->class;
    stream->vector_unit = instruction->class;
    return overlaps ? cycles - timing.effects[EFFECT_VECTOR_OVERLAP] : cycles;
}

/* In order, up to two per cycle, each as soon as its operands are there. */
static void scoreboard(stream_t *stream, const instruction_t *instruction, cost_t *cost)
{
    const long operands = latest(stream, instruction->reads);
    const long known = latest(stream, instruction->address); /* 0: nothing in this block made the address */
    const long address = known == 0 ? 0 : known + timing.effects[EFFECT_ADDRESS_LATENCY];
    const long needed = operands > address ? operands : address;
    const int cycles = vector_cycles(stream, instruction, least(instruction));
    long start = stream->now;
    int paired = 0;
    if (can_pair(stream, instruction) && needed < stream->now) {
        start = stream->now - 1;
        stream->in_cycle++;
        paired = 1;
        cost->extra[CAUSE_PAIRED] -= 1;
    } else if (needed > start) {
        cost->extra[CAUSE_OPERAND] += (int)(needed - start);
        start = needed;
    }
    if (!paired) {
        stream->in_cycle = 1;
        stream->now = start + cycles;
        cost->extra[timing_cause(instruction->class)] += cycles - 1;
    }
    for (int i = 0; i < 24; i++) {
        const uint32_t bit = (uint32_t)1u << i;
        if ((instruction->writes & bit) != 0u) {
            const int base = instruction->loaded != 0u && (instruction->loaded & bit) == 0u;
            const int latency = base ? 1 : timing.rules[instruction->class].latency;
            stream->ready[i] = start + (latency > 0 ? latency : 1) + (cycles > 1 ? cycles - 1 : 0);
        }
    }
}

int timing_can_read(const stream_t *stream, const instruction_t *instruction)
{
    return (stream->in_flight >> instruction->left & 1u) == 0u && (stream->in_flight >> instruction->right & 1u) == 0u;
}

void timing_next(stream_t *stream, const instruction_t *instruction, cost_t *cost)
{
    memset(cost, 0, sizeof *cost);
    if (timing.scoreboard) {
        scoreboard(stream, instruction, cost);
    } else {
        serial(stream, instruction, cost);
    }
    cost->cause = timing_cause(instruction->class);
    if (stream->conditional > 0) {
        stream->conditional--;
        /* A failed condition takes one cycle. Whether it held shows in the access to memory. */
        if (cost->cause == CAUSE_LOAD || cost->cause == CAUSE_STORE) {
            cost->if_executed = cost->extra[cost->cause];
            cost->extra[cost->cause] = 0;
        }
    }
    if (instruction->class == CLASS_IF_THEN) {
        stream->conditional = instruction->then;
    }
    const int writes_back = cost->cause == CAUSE_LOAD || cost->cause == CAUSE_STORE;
    stream->in_flight = (writes_back ? 0u : stream->in_flight) | instruction->writes;
    stream->previous = *instruction;
    stream->has_previous = 1;
}

int timing_unaligned(uint64_t address, unsigned bytes)
{
    if (bytes == 2u && (address & 1u) != 0u) {
        return timing.effects[EFFECT_UNALIGNED_HALF];
    }
    if (bytes == 4u && (address & 3u) != 0u) {
        return timing.effects[(address & 1u) != 0u ? EFFECT_UNALIGNED_WORD_BYTE : EFFECT_UNALIGNED_WORD];
    }
    return 0;
}

static int significant_bits(uint32_t value, int is_signed)
{
    const uint32_t magnitude = is_signed && (value & 0x80000000u) != 0u ? 0u - value : value;
    return magnitude == 0u ? 0 : 32 - __builtin_clz(magnitude);
}

int timing_operands(const instruction_t *instruction, uint32_t left, uint32_t right)
{
    const rule_t *rule = &timing.rules[instruction->class];
    const int a = significant_bits(left, instruction->is_signed);
    const int b = significant_bits(right, instruction->is_signed);
    int bits = a < b ? a : b;
    if (instruction->class == CLASS_DIVIDE) {
        bits = b == 0 || a < b ? 0 : a - b + 1; /* of the quotient, at most */
    }
    return ((rule->maximum - rule->cycles) * bits + 31) / 32;
}
