/* SPDX-License-Identifier: Apache-2.0
 *
 * memcpy, memset, memmove and memcmp for targets without a C library.
 *
 * Words where both pointers are aligned, bytes elsewhere. The same source serves every core, so that counts of
 * instructions do not depend on which C library happens to be installed. Compiled with -fno-builtin and without loop
 * idiom recognition: otherwise the compiler would turn these loops into calls of themselves. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORD_MASK (sizeof(word_t) - 1u)

/* may_alias: the words overlay objects of any type. */
typedef uint32_t __attribute__((may_alias)) word_t;

static int aligned(const void *first, const void *second)
{
    return (((uintptr_t)first | (uintptr_t)second) & WORD_MASK) == 0;
}

void *memcpy(void *destination, const void *source, size_t count)
{
    uint8_t *to = destination;
    const uint8_t *from = source;
    if (aligned(to, from)) {
        for (; count >= sizeof(word_t); count -= sizeof(word_t)) {
            *(word_t *)(void *)to = *(const word_t *)(const void *)from;
            to += sizeof(word_t);
            from += sizeof(word_t);
        }
    }
    while (count-- > 0) {
        *to++ = *from++;
    }
    return destination;
}

void *memset(void *destination, int value, size_t count)
{
    uint8_t *to = destination;
    const uint8_t byte = (uint8_t)value;
    if (aligned(to, to)) {
        const word_t word = (word_t)byte * 0x01010101u;
        for (; count >= sizeof(word_t); count -= sizeof(word_t)) {
            *(word_t *)(void *)to = word;
            to += sizeof(word_t);
        }
    }
    while (count-- > 0) {
        *to++ = byte;
    }
    return destination;
}

void *memmove(void *destination, const void *source, size_t count)
{
    uint8_t *to = destination;
    const uint8_t *from = source;
    if ((uintptr_t)to <= (uintptr_t)from) {
        while (count-- > 0) {
            *to++ = *from++;
        }
    } else {
        while (count-- > 0) {
            to[count] = from[count];
        }
    }
    return destination;
}

int memcmp(const void *first, const void *second, size_t count)
{
    const uint8_t *a = first;
    const uint8_t *b = second;
    for (; count > 0; count--, a++, b++) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}
