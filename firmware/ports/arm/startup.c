/* SPDX-License-Identifier: Apache-2.0
 *
 * Reset and faults of ARMv6-M to ARMv8.1-M. No interrupt is ever enabled: every vector but reset is a fault. */
#include "port.h"

#include <stdint.h>

#define EXIT_FAULT 20
#define SYSTEM_VECTORS 16
#define ICSR (*(volatile uint32_t *)0xe000ed04u)
#define CFSR (*(volatile uint32_t *)0xe000ed28u)
#define BFAR (*(volatile uint32_t *)0xe000ed38u)
#define CPACR (*(volatile uint32_t *)0xe000ed88u)
#define FRAME_WORDS 8
#define CPACR_FPU_MVE (0xfu << 20)

extern uint32_t __data_start[], __data_end[], __bss_start[], __bss_end[], __stack_limit[], __stack_top[];
extern const uint32_t __data_load[];

void reset_handler(void) __attribute__((noreturn));
void fault_entry(void) __attribute__((naked));
void fault_report(const uint32_t *frame) __attribute__((noreturn, used));

/* The first word of a vector table is the initial stack pointer, which is no function. */
typedef union {
    void *stack;
    void (*handler)(void);
} vector_t;

__attribute__((section(".vectors"), used)) static const vector_t vectors[SYSTEM_VECTORS] = {
    {.stack = __stack_top},     {.handler = reset_handler}, {.handler = fault_entry}, {.handler = fault_entry},
    {.handler = fault_entry},   {.handler = fault_entry},   {.handler = fault_entry}, {.handler = fault_entry},
    {.handler = fault_entry},   {.handler = fault_entry},   {.handler = fault_entry}, {.handler = fault_entry},
    {.handler = fault_entry},   {.handler = fault_entry},   {.handler = fault_entry}, {.handler = fault_entry},
};

void reset_handler(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= CPACR_FPU_MVE;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end;) {
        *to++ = 0u;
    }
    port_exit(bench_main());
}

/* The core pushed r0-r3, r12, lr, pc, psr. The report gets a stack of its own: the old one may be what failed. */
void fault_entry(void)
{
    __asm__ volatile("mov r0, sp\n\t"
                     "ldr r1, =__stack_top\n\t"
                     "mov sp, r1\n\t"
                     "ldr r1, =fault_report\n\t"
                     "bx r1\n\t"
                     ".ltorg");
}

static void print_field(const char *name, uint32_t value)
{
    port_print(name);
    port_print_hex(value);
}

/* One line that the runner reads: PLINIO-FAULT exception=.. pc=.. cause=.. address=.. lr=.. sp=..
 * A frame outside the stack was never written: the stack had run over when the core wanted to push it. */
void fault_report(const uint32_t *frame)
{
    const int readable = frame >= __stack_limit && frame + FRAME_WORDS <= __stack_top;
    print_field("PLINIO-FAULT exception=", ICSR & 0x1ffu);
    print_field(" pc=", readable ? frame[6] : 0u);
#if __ARM_ARCH >= 8 || defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__)
    print_field(" cause=", CFSR);
    print_field(" address=", BFAR);
#else
    port_print(" cause=00000000 address=00000000"); /* ARMv6-M has no fault status */
#endif
    print_field(" lr=", readable ? frame[5] : 0u);
    print_field(" sp=", (uint32_t)(uintptr_t)frame);
    port_print("\n");
    port_exit(EXIT_FAULT);
}
