/* SPDX-License-Identifier: Apache-2.0
 *
 * What a port gives the bench: two byte streams, a console, an end, and where the stack lies.
 * One port per family of targets, in ports/<family>/port.c. */
#ifndef PLINIO_PORT_H
#define PLINIO_PORT_H

#include <stdint.h>

/* Next `bytes` of the request; 0, or -1 if the request holds less. */
int port_read(void *destination, uint32_t bytes);

/* Appends to the response; 0, or -1 if there is no room. */
int port_write(const void *source, uint32_t bytes);

/* Text for people: the console. */
void port_print(const char *text);
void port_print_hex(uint32_t value);

/* Ends the run; `code` becomes the emulator's exit status. */
void port_exit(int code) __attribute__((noreturn));

/* Lowest address that the stack may reach, aligned to 4. */
uintptr_t port_stack_limit(void);

/* The stack pointer of the caller. Everything below it is free, for the bench calls functions and so has no red zone. */
static inline __attribute__((always_inline)) uintptr_t port_stack_pointer(void)
{
    uintptr_t sp;
#if defined(__arm__)
    __asm__ volatile("mov %0, sp" : "=r"(sp)::"memory");
#elif defined(__riscv)
    __asm__ volatile("mv %0, sp" : "=r"(sp)::"memory");
#elif defined(__x86_64__)
    __asm__ volatile("mov %%rsp, %0" : "=r"(sp)::"memory");
#elif defined(__aarch64__)
    __asm__ volatile("mov %0, sp" : "=r"(sp)::"memory");
#else
    sp = (uintptr_t)__builtin_frame_address(0);
#endif
    return sp;
}

int bench_main(void);

#endif
