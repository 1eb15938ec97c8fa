#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * add0: add
 *
 * in0      (3, 3, 4) u8
 * in1      (3, 3, 4) s8
 * out      (3, 3, 4) u8
 */
void net_l00_add0(const uint8_t *in0, const int8_t *in1, uint8_t *out)
{
    for (int32_t i = 0; i < 36; i++) {
        const int32_t a = in0[i];
        const int32_t b = in1[i];
        out[i] = (uint8_t)net_clamp((a * 2995931 + b * 2995931 + 11084945) >> 22, 0, 255);
    }
}
