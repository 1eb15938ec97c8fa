/* SPDX-License-Identifier: Apache-2.0
 *
 * The ranges of addresses that are counted apart; the form of their file is described in count.c. */
#ifndef PLINIO_RANGES_H
#define PLINIO_RANGES_H

#include <stdint.h>

#define ID_ENTRY 0u
#define MAX_RANGES 16384
#define MAX_IDS 16385u

typedef struct {
    uint64_t start;
    uint64_t end;
    uint32_t id;
} range_t;

/* Read the file; 0 on success. */
int ranges_read(const char *path, int need_entry);

/* The first range that holds an address; NULL if none does. */
const range_t *ranges_find(uint64_t address);

/* Where the first range with ID 0 starts. */
uint64_t ranges_entry(void);

#endif
