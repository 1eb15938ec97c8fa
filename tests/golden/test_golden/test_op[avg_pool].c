#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * avg0: avg_pool, kernel 3 x 3, stride 2 x 2, padding 1 1 1 1
 *
 * in       (5, 5, 4) s8
 * out      (3, 3, 4) s8
 */
void net_l00_avg0(const int8_t *in, int8_t *out)
{
    for (int32_t oy = 0; oy < 3; oy++) {
        const int32_t iy = oy * 2 - 1;
        const int32_t ky_begin = iy < 0 ? -iy : 0;
        const int32_t ky_end = 5 - iy > 2 ? 3 : 5 - iy;
        for (int32_t ox = 0; ox < 3; ox++) {
            const int32_t ix = ox * 2 - 1;
            const int32_t kx_begin = ix < 0 ? -ix : 0;
            const int32_t kx_end = 5 - ix > 2 ? 3 : 5 - ix;
            int8_t *pixel = out + (oy * 3 + ox) * 4;
            for (int32_t c = 0; c < 4; c++) {
                int32_t acc = 32;
                for (int32_t ky = ky_begin; ky < ky_end; ky++) {
                    for (int32_t kx = kx_begin; kx < kx_end; kx++) {
                        const int8_t *x = in + ((iy + ky) * 5 + ix + kx) * 4;
                        acc += x[c];
                    }
                }
                acc += -3 * (9 - (ky_end - ky_begin) * (kx_end - kx_begin));
                pixel[c] = (int8_t)net_requantize(acc, 477218588, -3, -128, 127);
            }
        }
    }
}
