/* SPDX-License-Identifier: Apache-2.0
 *
 * The bench: reads a request, runs the network on every sample of it, writes the response.
 *
 *   request   { magic "PDRQ", mode, samples, input_bytes }   then samples * input_bytes
 *   response  { magic "PDRS", mode, samples, sample_bytes }  then samples * sample_bytes
 *             { magic "PDEN", status, stack_peak, 0 }        the trailer; without it the run did not end properly
 *
 * All fields are little-endian uint32_t. Mode 0: a sample's response is its packed outputs. Mode 1: the output tensor of
 * every step, in step order. `status` is a set of STATUS_* bits, `stack_peak` the bytes that the first inference took
 * below the stack pointer of its caller. Nothing here depends on the target: see port.h. */
#include "port.h"

#include "bench_config.h"

#include <stdint.h>
#include <string.h>

#define MAGIC_REQUEST 0x51524450u
#define MAGIC_RESPONSE 0x53524450u
#define MAGIC_END 0x4e454450u

#define MODE_OUTPUTS 0u
#define MODE_TRACE 1u

#define STATUS_ARENA_OVERRUN 1u
#define STATUS_OUTPUT_OVERRUN 2u
#define STATUS_STACK_OVERFLOW 4u
#define STATUS_INPUT_CHANGED 8u

#define EXIT_REQUEST 10
#define EXIT_RESPONSE 11

#define PAINT 0x7057ac1eu
#define GUARD_BYTES 16u
#define GUARD_BYTE 0xc3u
#define ALIGNED __attribute__((aligned(16)))

/* The guards behind the buffers are checked after every sample. */
static uint8_t arena[BENCH_ARENA_BYTES + GUARD_BYTES] ALIGNED;
static uint8_t input[BENCH_INPUT_BYTES + GUARD_BYTES] ALIGNED;
static uint8_t output[BENCH_OUTPUT_BYTES + GUARD_BYTES] ALIGNED;

static void fail(int code, const char *text)
{
    port_print("bench: ");
    port_print(text);
    port_print("\n");
    port_exit(code);
}

static void read_or_fail(void *destination, uint32_t bytes)
{
    if (port_read(destination, bytes) != 0) {
        fail(EXIT_REQUEST, "the request is shorter than its header says");
    }
}

static void write_or_fail(const void *source, uint32_t bytes)
{
    if (port_write(source, bytes) != 0) {
        fail(EXIT_RESPONSE, "no room for the response");
    }
}

static int guard_broken(const uint8_t *guard)
{
    for (uint32_t i = 0; i < GUARD_BYTES; i++) {
        if (guard[i] != GUARD_BYTE) {
            return 1;
        }
    }
    return 0;
}

/* Sum that depends on the order of the bytes: tells whether the network wrote to its input. */
static uint32_t checksum(const uint8_t *data, uint32_t bytes)
{
    uint32_t sum = 1u;
    for (uint32_t i = 0; i < bytes; i++) {
        sum = sum * 31u + data[i];
    }
    return sum;
}

static void run_steps(void)
{
    for (uint32_t step = 0; step < BENCH_STEP_COUNT; step++) {
        BENCH_STEP(step, arena, input, output);
        const uint8_t *base = BENCH_STEPS[step].place == 0u ? arena : output;
        write_or_fail(base + BENCH_STEPS[step].offset, BENCH_STEPS[step].bytes);
    }
}

/* Another filling per sample: a network that reads what it never wrote cannot give stable outputs. */
static void spoil_buffers(uint32_t sample)
{
    const int filling = (int)(0xa5u ^ (sample & 0xffu));
    memset(arena, filling, BENCH_ARENA_BYTES);
    memset(output, filling, BENCH_OUTPUT_BYTES);
}

/* Paints all free stack, runs one inference, and returns how many bytes of the paint are gone. */
static __attribute__((noinline)) uint32_t measure_stack(uint32_t *status)
{
    const uintptr_t limit = port_stack_limit();
    const uintptr_t top = port_stack_pointer() & ~(uintptr_t)3u;
    for (uintptr_t at = limit; at < top; at += 4u) {
        *(volatile uint32_t *)at = PAINT;
    }
    BENCH_RUN(arena, input, output);
    uintptr_t at = limit;
    while (at < top && *(volatile uint32_t *)at == PAINT) {
        at += 4u;
    }
    if (at == limit) {
        *status |= STATUS_STACK_OVERFLOW;
    }
    return (uint32_t)(top - at);
}

static uint32_t sample_bytes(uint32_t mode)
{
    uint32_t bytes = 0;
    if (mode == MODE_OUTPUTS) {
        return BENCH_OUTPUT_BYTES;
    }
    for (uint32_t step = 0; step < BENCH_STEP_COUNT; step++) {
        bytes += BENCH_STEPS[step].bytes;
    }
    return bytes;
}

int bench_main(void)
{
    uint32_t header[4];
    uint32_t status = 0;
    uint32_t peak = 0;
    read_or_fail(header, sizeof header);
    const uint32_t mode = header[1];
    const uint32_t samples = header[2];
    if (header[0] != MAGIC_REQUEST || mode > MODE_TRACE || header[3] != BENCH_INPUT_BYTES) {
        fail(EXIT_REQUEST, "the request's header is not one of this network");
    }
    header[0] = MAGIC_RESPONSE;
    header[3] = sample_bytes(mode);
    write_or_fail(header, sizeof header);
    memset(arena + BENCH_ARENA_BYTES, GUARD_BYTE, GUARD_BYTES);
    memset(output + BENCH_OUTPUT_BYTES, GUARD_BYTE, GUARD_BYTES);
    for (uint32_t sample = 0; sample < samples; sample++) {
        read_or_fail(input, BENCH_INPUT_BYTES);
        const uint32_t before = checksum(input, BENCH_INPUT_BYTES);
        spoil_buffers(sample);
        if (sample == 0) {
            peak = measure_stack(&status);
        } else if (mode == MODE_OUTPUTS) {
            BENCH_RUN(arena, input, output);
        }
        if (mode == MODE_OUTPUTS) {
            write_or_fail(output, BENCH_OUTPUT_BYTES);
        } else {
            spoil_buffers(sample);
            run_steps();
        }
        status |= guard_broken(arena + BENCH_ARENA_BYTES) ? STATUS_ARENA_OVERRUN : 0u;
        status |= guard_broken(output + BENCH_OUTPUT_BYTES) ? STATUS_OUTPUT_OVERRUN : 0u;
        status |= checksum(input, BENCH_INPUT_BYTES) != before ? STATUS_INPUT_CHANGED : 0u;
    }
    header[0] = MAGIC_END;
    header[1] = status;
    header[2] = peak;
    header[3] = 0;
    write_or_fail(header, sizeof header);
    return 0;
}
