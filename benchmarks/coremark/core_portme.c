/* SPDX-License-Identifier: Apache-2.0
 *
 * CoreMark on our RISC-V port: cycles and instructions from the core's own counters, text to the console. */
#include "coremark.h"

#include "port.h"

int main(void);

volatile ee_s32 seed1_volatile = 0;
volatile ee_s32 seed2_volatile = 0;
volatile ee_s32 seed3_volatile = 0x66;
volatile ee_s32 seed4_volatile = ITERATIONS;
volatile ee_s32 seed5_volatile = 0;

ee_u32 default_num_contexts = 1;

static uint32_t cycles, instructions;

static uint32_t mcycle(void)
{
    uint32_t value;
    __asm__ volatile("csrr %0, mcycle" : "=r"(value)::"memory");
    return value;
}

static uint32_t minstret(void)
{
    uint32_t value;
    __asm__ volatile("csrr %0, minstret" : "=r"(value)::"memory");
    return value;
}

void start_time(void)
{
    instructions = minstret();
    cycles = mcycle();
}

void stop_time(void)
{
    cycles = mcycle() - cycles;
    instructions = minstret() - instructions;
}

CORE_TICKS get_time(void)
{
    return cycles;
}

/* Seconds only appear in text that nobody reads; never 0, for CoreMark divides by them. */
secs_ret time_in_secs(CORE_TICKS ticks)
{
    return 1u + ticks / 1000000u;
}

/* Prints the format itself: the words that matter, of success and of failure, have no values in them. */
int ee_printf(const char *format, ...)
{
    port_print(format);
    return 0;
}

void portable_init(core_portable *p, int *argc, char *argv[])
{
    (void)argc;
    (void)argv;
    p->portable_id = 1;
}

void portable_fini(core_portable *p)
{
    p->portable_id = 0;
    port_print("cycles=");
    port_print_hex(cycles);
    port_print(" instructions=");
    port_print_hex(instructions);
    port_print("\n");
}

int bench_main(void)
{
    return main();
}
