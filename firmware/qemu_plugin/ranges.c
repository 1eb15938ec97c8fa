/* SPDX-License-Identifier: Apache-2.0 */
#include "ranges.h"

#include <stdio.h>

typedef struct {
    range_t ranges[MAX_RANGES];
    size_t count;
} table_t;

static table_t functions;
static table_t phases;

static const range_t *find(const table_t *table, uint64_t address)
{
    for (size_t i = 0; i < table->count; i++) {
        if (address >= table->ranges[i].start && address < table->ranges[i].end) {
            return &table->ranges[i];
        }
    }
    return NULL;
}

static const range_t *entry(void)
{
    for (size_t i = 0; i < functions.count; i++) {
        if (functions.ranges[i].id == ID_ENTRY) {
            return &functions.ranges[i];
        }
    }
    return NULL;
}

static int read_table(table_t *table, const char *path, uint32_t ids)
{
    unsigned long long start;
    unsigned long long end;
    unsigned id;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "count: cannot read %s\n", path);
        return -1;
    }
    while (fscanf(file, "%llx %llx %x", &start, &end, &id) == 3) {
        if (table->count == MAX_RANGES || id >= ids) {
            fprintf(stderr, "count: %s: more than %d ranges, or an ID of %u or more\n", path, MAX_RANGES, (unsigned)ids);
            fclose(file);
            return -1;
        }
        table->ranges[table->count++] = (range_t){start, end, id};
    }
    fclose(file);
    return 0;
}

const range_t *ranges_find(uint64_t address)
{
    return find(&functions, address);
}

uint32_t ranges_phase(uint64_t address)
{
    const range_t *found = find(&phases, address);
    return found == NULL ? 0u : found->id;
}

uint64_t ranges_entry(void)
{
    const range_t *found = entry();
    return found == NULL ? UINT64_MAX : found->start;
}

int ranges_read(const char *path, int need_entry)
{
    if (read_table(&functions, path, MAX_IDS) != 0) {
        return -1;
    }
    if (need_entry && entry() == NULL) {
        fprintf(stderr, "count: %s names no entry (ID 0)\n", path);
        return -1;
    }
    return 0;
}

int ranges_read_phases(const char *path)
{
    return read_table(&phases, path, MAX_PHASES);
}
