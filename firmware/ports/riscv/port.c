/* SPDX-License-Identifier: Apache-2.0
 *
 * A window of memory that the harness fills before the run and reads after it: QEMU maps a file there, an RTL test bench
 * loads and dumps the same addresses. Console and end of the run as on QEMU's "virt": a 16550 UART and SiFive's test device.
 *
 *   window  { magic "PDWN", request_bytes, response_offset, response_capacity, response_bytes, 0, 0, 0 }
 *           the request follows at +32, the response at +response_offset */
#include "port.h"

#include "bench_config.h"

#include <stdint.h>
#include <string.h>

#define MAGIC_WINDOW 0x4e574450u
#define HEADER_BYTES 32u
#define EXIT_WINDOW 12
#define EXIT_FAULT 20
#define FINISHER (*(volatile uint32_t *)0x00100000u)
#define FINISHER_PASS 0x5555u
#define FINISHER_FAIL 0x3333u
#define UART (*(volatile uint8_t *)0x10000000u)

typedef struct {
    uint32_t magic;
    uint32_t request_bytes;
    uint32_t response_offset;
    uint32_t response_capacity;
    volatile uint32_t response_bytes;
} window_t;

extern uint32_t __stack_limit[];

static uint32_t request_at;

void trap_report(uint32_t cause, uint32_t pc, uint32_t address, uint32_t ra, uint32_t sp) __attribute__((noreturn));

static window_t *window(void)
{
    return (window_t *)(uintptr_t)BENCH_WINDOW_BASE;
}

void port_print(const char *text)
{
    while (*text != '\0') {
        UART = (uint8_t)*text++;
    }
}

void port_print_hex(uint32_t value)
{
    for (uint32_t i = 0; i < 8u; i++) {
        UART = (uint8_t)"0123456789abcdef"[(value >> (28u - 4u * i)) & 15u];
    }
}

void port_exit(int code)
{
    FINISHER = code == 0 ? FINISHER_PASS : ((uint32_t)code << 16) | FINISHER_FAIL;
    for (;;) {
    }
}

int port_read(void *destination, uint32_t bytes)
{
    const window_t *header = window();
    if (header->magic != MAGIC_WINDOW) {
        port_print("bench: nothing was loaded into the memory window\n");
        port_exit(EXIT_WINDOW);
    }
    if (bytes > header->request_bytes - request_at) {
        return -1;
    }
    memcpy(destination, (const uint8_t *)header + HEADER_BYTES + request_at, bytes);
    request_at += bytes;
    return 0;
}

int port_write(const void *source, uint32_t bytes)
{
    window_t *header = window();
    const uint32_t at = header->response_bytes;
    if (bytes > header->response_capacity - at) {
        return -1;
    }
    memcpy((uint8_t *)header + header->response_offset + at, source, bytes);
    header->response_bytes = at + bytes;
    return 0;
}

uintptr_t port_stack_limit(void)
{
    return (uintptr_t)__stack_limit;
}

/* One line that the runner reads: PLINIO-FAULT exception=.. pc=.. cause=.. address=.. lr=.. sp=.. */
void trap_report(uint32_t cause, uint32_t pc, uint32_t address, uint32_t ra, uint32_t sp)
{
    port_print("PLINIO-FAULT exception=00000000 pc=");
    port_print_hex(pc);
    port_print(" cause=");
    port_print_hex(cause);
    port_print(" address=");
    port_print_hex(address);
    port_print(" lr=");
    port_print_hex(ra);
    port_print(" sp=");
    port_print_hex(sp);
    port_print("\n");
    port_exit(EXIT_FAULT);
}
