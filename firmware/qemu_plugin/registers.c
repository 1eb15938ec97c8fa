/* SPDX-License-Identifier: Apache-2.0
 *
 * Interface version 1 of QEMU's plugins has no call for registers. QEMU's own functions for debuggers give them, and
 * builds that load modules, as distributions' do, export all functions: they are looked up by name, and where one is
 * missing there are no values. */
#define _GNU_SOURCE
#include "registers.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    uint8_t *data;
    unsigned length;
} byte_array_t; /* GLib's GByteArray, whose first two members are documented */

typedef void *(*get_cpu_t)(int index);
typedef int (*read_register_t)(void *cpu, byte_array_t *to, int number);
typedef byte_array_t *(*array_new_t)(void);
typedef byte_array_t *(*array_set_size_t)(byte_array_t *array, unsigned length);

static void *symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

int register_value(unsigned number, uint32_t *value)
{
    static int known;
    static void *cpu;
    static byte_array_t *array;
    static read_register_t read_register;
    static array_set_size_t set_size;
    if (!known) {
        known = 1;
        get_cpu_t get_cpu = (get_cpu_t)symbol("qemu_get_cpu");
        array_new_t array_new = (array_new_t)symbol("g_byte_array_new");
        set_size = (array_set_size_t)symbol("g_byte_array_set_size");
        read_register = (read_register_t)symbol("arm_cpu_gdb_read_register");
        if (get_cpu != NULL && array_new != NULL && set_size != NULL && read_register != NULL) {
            cpu = get_cpu(0);
            array = array_new();
        }
    }
    if (cpu == NULL || array == NULL) {
        return 0;
    }
    set_size(array, 0);
    if (read_register(cpu, array, (int)number) != 4) {
        return 0;
    }
    memcpy(value, array->data, 4);
    return 1;
}
