/* SPDX-License-Identifier: Apache-2.0 */
#include "ranges.h"

#include <stdio.h>

static range_t ranges[MAX_RANGES];
static size_t range_count;
static uint64_t entry_point;

const range_t *ranges_find(uint64_t address)
{
    for (size_t i = 0; i < range_count; i++) {
        if (address >= ranges[i].start && address < ranges[i].end) {
            return &ranges[i];
        }
    }
    return NULL;
}

uint64_t ranges_entry(void)
{
    return entry_point;
}

int ranges_read(const char *path, int need_entry)
{
    unsigned long long start;
    unsigned long long end;
    unsigned id;
    int have_entry = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "count: cannot read %s\n", path);
        return -1;
    }
    while (fscanf(file, "%llx %llx %x", &start, &end, &id) == 3) {
        if (range_count == MAX_RANGES || id >= MAX_IDS) {
            fprintf(stderr, "count: more than %d ranges, or an ID of %u or more\n", MAX_RANGES, (unsigned)MAX_IDS);
            fclose(file);
            return -1;
        }
        ranges[range_count++] = (range_t){start, end, id};
        if (id == ID_ENTRY && !have_entry) {
            entry_point = start;
            have_entry = 1;
        }
    }
    fclose(file);
    if (need_entry && !have_entry) {
        fprintf(stderr, "count: %s names no entry (ID 0)\n", path);
        return -1;
    }
    return 0;
}
