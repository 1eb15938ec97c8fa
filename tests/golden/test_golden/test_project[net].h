#ifndef NET_H
#define NET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** SHA-256 of the integer network that this code was generated from. */
#define NET_NETWORK_DIGEST "0000000000000000000000000000000000000000000000000000000000000000"

/** Working memory, in bytes. No placement of its buffers needs less than 2400. */
#define NET_ARENA_BYTES 2400

/** Alignment that the working memory needs, in bytes. */
#define NET_ARENA_ALIGN 8

/** All inputs back to back, in bytes. */
#define NET_INPUT_BYTES 300

/** All outputs back to back, in bytes. */
#define NET_OUTPUT_BYTES 10

/* Geometry and quantization. A code q stands for the real number (q - ZERO_POINT) * SCALE. Codes are stored in the order
 * height, width, channel; those of fewer than 8 bits are packed little-end first, each pixel padded to whole bytes. */

/* Input t0, (10, 10, 3) s8 */
#define NET_IN0_HEIGHT 10
#define NET_IN0_WIDTH 10
#define NET_IN0_CHANNELS 3
#define NET_IN0_BYTES 300
#define NET_IN0_BITS 8
#define NET_IN0_SIGNED 1
#define NET_IN0_SCALE 0.0078125
#define NET_IN0_ZERO_POINT (-1)

/* Output t12, (10) s8 */
#define NET_OUT0_HEIGHT 1
#define NET_OUT0_WIDTH 1
#define NET_OUT0_CHANNELS 10
#define NET_OUT0_BYTES 10
#define NET_OUT0_BITS 8
#define NET_OUT0_SIGNED 1
#define NET_OUT0_SCALE 0.1
#define NET_OUT0_ZERO_POINT 0

/**
 * Run one inference: 48700 multiply-accumulates in 11 layers.
 *
 * Reentrant: all state lies in the arguments. No buffer may overlap another.
 *
 * @param arena   NET_ARENA_BYTES of working memory, aligned to NET_ARENA_ALIGN; its content does not matter
 * @param in0     input t0, (10, 10, 3) s8; codes -128 to 127
 * @param out0    output t12, (10) s8; codes -128 to 127
 */
void net_run(uint8_t *arena, const int8_t *in0, int8_t *out0);

#ifdef __cplusplus
}
#endif

#endif
