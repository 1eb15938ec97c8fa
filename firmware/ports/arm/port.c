/* SPDX-License-Identifier: Apache-2.0
 *
 * Semihosting: the request and the response are files on the host. The command line that the debugger or emulator gives is
 * "bench REQUEST RESPONSE". Operations as in Arm's "Semihosting for AArch32 and AArch64". */
#include "port.h"

#include <stddef.h>
#include <stdint.h>

#define SYS_OPEN 0x01
#define SYS_WRITE0 0x04
#define SYS_WRITE 0x05
#define SYS_READ 0x06
#define SYS_GET_CMDLINE 0x15
#define SYS_EXIT_EXTENDED 0x20

#define OPEN_READ_BINARY 1u
#define OPEN_WRITE_BINARY 5u
#define APPLICATION_EXIT 0x20026u
#define EXIT_FILES 12
#define COMMAND_LINE_BYTES 256u

extern uint32_t __stack_limit[];

static char command_line[COMMAND_LINE_BYTES];
static int32_t request_file = -1;
static int32_t response_file = -1;

static int32_t semihost(int32_t operation, const void *argument)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void port_print(const char *text)
{
    (void)semihost(SYS_WRITE0, text);
}

void port_print_hex(uint32_t value)
{
    char text[9];
    for (uint32_t i = 0; i < 8u; i++) {
        text[i] = "0123456789abcdef"[(value >> (28u - 4u * i)) & 15u];
    }
    text[8] = '\0';
    port_print(text);
}

void port_exit(int code)
{
    const uint32_t block[2] = {APPLICATION_EXIT, (uint32_t)code};
    for (;;) {
        (void)semihost(SYS_EXIT_EXTENDED, block);
    }
}

static int32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, mode, length};
    const int32_t file = semihost(SYS_OPEN, block);
    if (file < 0) {
        port_print("bench: cannot open ");
        port_print(name);
        port_print("\n");
        port_exit(EXIT_FILES);
    }
    return file;
}

/* Ends word `index` of the command line with a zero byte and returns it; *length is without that byte. */
static char *word(uint32_t index, uint32_t *length)
{
    char *at = command_line;
    for (;;) {
        while (*at == ' ') {
            at++;
        }
        char *end = at;
        while (*end != ' ' && *end != '\0') {
            end++;
        }
        if (index == 0u || *end == '\0') {
            *length = (uint32_t)(end - at);
            return at;
        }
        index--;
        at = end;
    }
}

static void open_files(void)
{
    uint32_t block[2] = {(uint32_t)(uintptr_t)command_line, COMMAND_LINE_BYTES - 1u};
    uint32_t request_length;
    uint32_t response_length;
    if (semihost(SYS_GET_CMDLINE, block) != 0) {
        port_print("bench: no semihosting command line\n");
        port_exit(EXIT_FILES);
    }
    char *request = word(1u, &request_length);
    char *response = word(2u, &response_length);
    request[request_length] = '\0';
    response[response_length] = '\0';
    request_file = open_file(request, request_length, OPEN_READ_BINARY);
    response_file = open_file(response, response_length, OPEN_WRITE_BINARY);
}

/* Both operations answer with the number of bytes that were NOT transferred. */
static int transfer(int32_t operation, int32_t file, const void *buffer, uint32_t bytes)
{
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)buffer, bytes};
    return bytes == 0u || semihost(operation, block) == 0 ? 0 : -1;
}

int port_read(void *destination, uint32_t bytes)
{
    if (request_file < 0) {
        open_files();
    }
    return transfer(SYS_READ, request_file, destination, bytes);
}

int port_write(const void *source, uint32_t bytes)
{
    return transfer(SYS_WRITE, response_file, source, bytes);
}

uintptr_t port_stack_limit(void)
{
    return (uintptr_t)__stack_limit;
}
