/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory with wait states, and what is held of it: the line of code that was fetched last, or more of them, and lines of data.
 * Lines that were not used for longest are dropped first. Nothing is fetched ahead. */
#ifndef PLINIO_MEMORY_H
#define PLINIO_MEMORY_H

#include <stdint.h>

#define MAX_LINES 256

/* Say where it lies (END exclusive), how many bytes a line has, what an access takes beyond one cycle, and how many lines of
 * code (at least 1) and of data are held. Returns 0, or -1 for numbers that make no sense. */
int memory_configure(uint64_t start, uint64_t end, uint64_t line_bytes, int wait, unsigned code_lines, unsigned data_lines);

/* Whether any access waits. */
int memory_is_slow(void);

/* The cycles that fetching code from a first to a last byte waits. */
int memory_fetch(uint64_t first, uint64_t last);

/* The cycles that reading data waits. */
int memory_read(uint64_t address);

#endif
