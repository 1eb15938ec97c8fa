/* SPDX-License-Identifier: Apache-2.0
 *
 * The bench as a program of this machine: bench REQUEST RESPONSE. It runs in a thread whose stack is memory of ours, so that
 * painting it works as it does on a core. */
#define _XOPEN_SOURCE 600 /* pthread_attr_setstack */

#include "port.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define STACK_BYTES (8u << 20)
#define STACK_ALIGNMENT 4096u
#define EXIT_FILES 12

static FILE *request_file;
static FILE *response_file;
static void *stack;

int port_read(void *destination, uint32_t bytes)
{
    return fread(destination, 1, bytes, request_file) == bytes ? 0 : -1;
}

int port_write(const void *source, uint32_t bytes)
{
    return fwrite(source, 1, bytes, response_file) == bytes ? 0 : -1;
}

void port_print(const char *text)
{
    fputs(text, stderr);
}

void port_print_hex(uint32_t value)
{
    fprintf(stderr, "%08x", (unsigned)value);
}

void port_exit(int code)
{
    if (response_file != NULL && fclose(response_file) != 0 && code == 0) {
        fputs("bench: the response could not be written\n", stderr);
        code = EXIT_FILES;
    }
    exit(code);
}

uintptr_t port_stack_limit(void)
{
    return (uintptr_t)stack;
}

static void *start(void *unused)
{
    (void)unused;
    port_exit(bench_main());
}

int main(int count, char **arguments)
{
    pthread_attr_t attributes;
    pthread_t thread;
    if (count != 3) {
        fprintf(stderr, "usage: %s REQUEST RESPONSE\n", arguments[0]);
        return EXIT_FILES;
    }
    request_file = fopen(arguments[1], "rb");
    response_file = fopen(arguments[2], "wb");
    if (request_file == NULL || response_file == NULL) {
        fprintf(stderr, "bench: cannot open %s or %s\n", arguments[1], arguments[2]);
        return EXIT_FILES;
    }
    if (posix_memalign(&stack, STACK_ALIGNMENT, STACK_BYTES) != 0 || pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstack(&attributes, stack, STACK_BYTES) != 0 || pthread_create(&thread, &attributes, start, NULL) != 0) {
        fputs("bench: cannot start a thread\n", stderr);
        return EXIT_FILES;
    }
    pthread_join(thread, NULL);
    return EXIT_FILES;
}
