/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of the core's registers, where this QEMU lets a plugin have them. */
#ifndef PLINIO_REGISTERS_H
#define PLINIO_REGISTERS_H

#include <stdint.h>

/* Value of r0 to r15 of the first core, in a callback that reads registers. Returns 0 if it cannot be had. */
int register_value(unsigned number, uint32_t *value);

#endif
