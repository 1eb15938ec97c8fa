/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <string.h>

typedef struct {
    uint64_t lines[MAX_LINES]; /* the one used last comes first; line numbers from 1, so that 0 is none */
    unsigned held;
} held_t;

static uint64_t slow_start;
static uint64_t slow_end;
static uint64_t bytes = 1;
static int wait_cycles;
static held_t code;
static held_t data;

int memory_configure(uint64_t start, uint64_t end, uint64_t line_bytes, int wait, unsigned code_lines, unsigned data_lines)
{
    if (line_bytes == 0u || wait < 0 || code_lines == 0u || code_lines > MAX_LINES || data_lines > MAX_LINES) {
        return -1;
    }
    slow_start = start;
    slow_end = end;
    bytes = line_bytes;
    wait_cycles = wait;
    code.held = code_lines;
    data.held = data_lines;
    return 0;
}

int memory_is_slow(void)
{
    return wait_cycles > 0;
}

static int use(held_t *held, uint64_t line)
{
    unsigned place = 0;
    while (place < held->held && held->lines[place] != line) {
        place++;
    }
    const int missed = place == held->held;
    if (held->held != 0u) {
        memmove(&held->lines[1], &held->lines[0], (missed ? place - 1u : place) * sizeof held->lines[0]);
        held->lines[0] = line;
    }
    return missed ? wait_cycles : 0;
}

static int is_slow(uint64_t address)
{
    return address >= slow_start && address < slow_end;
}

int memory_fetch(uint64_t first, uint64_t last)
{
    int waits = 0;
    if (!is_slow(first)) {
        return 0;
    }
    for (uint64_t line = first / bytes; line <= last / bytes; line++) {
        waits += use(&code, line + 1u);
    }
    return waits;
}

int memory_read(uint64_t address)
{
    return is_slow(address) ? use(&data, address / bytes + 1u) : 0;
}
