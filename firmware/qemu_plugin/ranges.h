/* SPDX-License-Identifier: Apache-2.0
 *
 * The ranges of addresses that are counted apart; the form of their file is described in count.c. */
#ifndef PLINIO_RANGES_H
#define PLINIO_RANGES_H

#include <stdint.h>

#define ID_ENTRY 0u
#define MAX_RANGES 4096
#define MAX_IDS 4097u
#define MAX_PHASES 64u

typedef struct {
    uint64_t start;
    uint64_t end;
    uint32_t id;
} range_t;

/* Read the file; 0 on success. */
int ranges_read(const char *path, int need_entry);

/* The first range that holds an address; NULL if none does. */
const range_t *ranges_find(uint64_t address);

/* Read the file of phases, whose lines are like those of the ranges, with a phase from 1 to 63 for an ID; 0 on success. */
int ranges_read_phases(const char *path);

/* The phase that an address belongs to; 0 for none. */
uint32_t ranges_phase(uint64_t address);

/* Where the first range with ID 0 starts. */
uint64_t ranges_entry(void);

#endif
