/* SPDX-License-Identifier: Apache-2.0
 *
 * TCG plugin: counts the instructions of the first inference, per layer.
 *
 *   -plugin count.so,ranges=FILE,out=FILE
 *
 * A line of the ranges file is "START END ID", numbers in hexadecimal, END exclusive:
 *   ID 0   the entry function (net_run); the first START with ID 0 is the entry point, where counting begins
 *   ID 1   the harness: everything that may call the entry function; reaching it ends the count
 *   ID 2.. the layers' functions
 * Code in a range makes its ID the current one; code in no range (memcpy, libgcc, static helpers) counts for the current ID.
 * Recursion through the harness does not exist: the bench calls the network, never the other way round.
 *
 * A block is split where the ID changes, and each part counts when its first instruction runs. Blocks end at branches, so a
 * part runs as a whole, unless an instruction in it faults - and then there is no result. An Arm instruction whose
 * condition is false counts, as it does on the core's own instruction stream.
 *
 * The output file is written at exit: "entered N", "finished N", then "ID COUNT" per ID, decimal. */
#include "qemu_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RANGES 4096
#define ID_ENTRY 0u
#define ID_HARNESS 1u
#define ID_OUTSIDE 0xffffffffu
#define MAX_IDS 4097u

QEMU_EXPORT int qemu_plugin_version = QEMU_API_VERSION;

typedef struct {
    uint64_t start;
    uint64_t end;
    uint32_t id;
} range_t;

/* What one callback needs: made at translation, lives as long as QEMU. */
typedef struct {
    uint32_t id;
    uint32_t instructions;
    int is_entry;
} part_t;

enum state { WAITING, COUNTING, DONE };

static range_t ranges[MAX_RANGES];
static size_t range_count;
static uint64_t entry_point;
static enum state state = WAITING;
static uint32_t current;
static uint64_t counts[MAX_IDS];
static uint64_t entered;
static uint64_t finished;
static const char *out_path;

static uint32_t id_of(uint64_t address)
{
    for (size_t i = 0; i < range_count; i++) {
        if (address >= ranges[i].start && address < ranges[i].end) {
            return ranges[i].id;
        }
    }
    return ID_OUTSIDE;
}

static void executed(unsigned int vcpu, void *data)
{
    const part_t *part = data;
    (void)vcpu;
    if (state == DONE) {
        return;
    }
    if (state == WAITING) {
        if (!part->is_entry) {
            return;
        }
        state = COUNTING;
        entered++;
    }
    if (part->id == ID_HARNESS) {
        state = DONE;
        finished++;
        return;
    }
    if (part->id != ID_OUTSIDE) {
        current = part->id;
    }
    counts[current] += part->instructions;
}

static void translated(qemu_plugin_id_t plugin, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    part_t *part = NULL;
    (void)plugin;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        const uint32_t id = id_of(address);
        const int is_entry = address == entry_point;
        if (part == NULL || part->id != id || is_entry) {
            part = calloc(1, sizeof *part);
            if (part == NULL) {
                abort();
            }
            part->id = id;
            part->is_entry = is_entry;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, QEMU_PLUGIN_CB_NO_REGS, part);
        }
        part->instructions++;
    }
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
    for (uint32_t id = 0; id < MAX_IDS; id++) {
        if (counts[id] != 0) {
            fprintf(file, "%u %llu\n", (unsigned)id, (unsigned long long)counts[id]);
        }
    }
    fclose(file);
}

static int read_ranges(const char *path)
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
    if (!have_entry) {
        fprintf(stderr, "count: %s names no entry (ID 0)\n", path);
        return -1;
    }
    return 0;
}

QEMU_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    const char *ranges_path = NULL;
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "ranges=", 7) == 0) {
            ranges_path = argv[i] + 7;
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out_path = argv[i] + 4;
        }
    }
    if (ranges_path == NULL || out_path == NULL) {
        fprintf(stderr, "count: needs ranges=FILE and out=FILE\n");
        return -1;
    }
    /* The arguments do not outlive this call. */
    out_path = strdup(out_path);
    if (out_path == NULL || read_ranges(ranges_path) != 0) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
