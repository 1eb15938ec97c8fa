#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * avg0: avg_pool, kernel 4 x 4
 *
 * in       (4, 4, 8) u8
 * out      (1, 1, 8) u8
 */
void net_l00_avg0(const uint8_t *in, uint8_t *out)
{
    uint8_t *pixel = out + 0;
    for (int32_t c = 0; c < 8; c++) {
        int32_t acc = 8;
        for (int32_t ky = 0; ky < 4; ky++) {
            for (int32_t kx = 0; kx < 4; kx++) {
                const uint8_t *x = in + (ky * 4 + kx) * 8;
                acc += x[c];
            }
        }
        pixel[c] = (uint8_t)net_requantize(acc, 268435456, 0, 0, 255);
    }
}
