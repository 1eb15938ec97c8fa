/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of <string.h> that generated code may use, so that no C library has to be installed.
 * The functions are in runtime/memory.c. */
#ifndef PLINIO_STRING_H
#define PLINIO_STRING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memcpy(void *destination, const void *source, size_t count);
void *memset(void *destination, int value, size_t count);
void *memmove(void *destination, const void *source, size_t count);
int memcmp(const void *first, const void *second, size_t count);

#ifdef __cplusplus
}
#endif

#endif
