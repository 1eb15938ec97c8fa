#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * conv0: conv, kernel 3 x 3, dilation 2 x 2, padding 2 2 2 2, 2 groups; 5292 MACs
 *
 * in       (7, 7, 4) u8
 * out      (7, 7, 6) s8
 */
void net_l00_conv0(const uint8_t *in, int8_t *out)
{
    for (int32_t oy = 0; oy < 7; oy++) {
        const int32_t iy = oy - 2;
        const int32_t ky_begin = iy < 0 ? (-iy + 1) / 2 : 0;
        const int32_t ky_end = 7 - iy > 4 ? 3 : (7 - iy + 1) / 2;
        for (int32_t ox = 0; ox < 7; ox++) {
            const int32_t ix = ox - 2;
            const int32_t kx_begin = ix < 0 ? (-ix + 1) / 2 : 0;
            const int32_t kx_end = 7 - ix > 4 ? 3 : (7 - ix + 1) / 2;
            int8_t *pixel = out + (oy * 7 + ox) * 6;
            const int8_t *w = net_l00_conv0_w;
            for (int32_t oc = 0; oc < 6; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                const int32_t first = (oc / 3) * 2;
                for (int32_t ky = ky_begin; ky < ky_end; ky++) {
                    for (int32_t kx = kx_begin; kx < kx_end; kx++) {
                        const uint8_t *x = in + ((iy + ky * 2) * 7 + ix + kx * 2) * 4;
                        for (int32_t c = 0; c < 2; c++) {
                            acc += x[first + c] * w[(ky * 3 + kx) * 2 + c];
                        }
                    }
                }
                pixel[oc] = (int8_t)net_requantize(acc, 8388252, -3, -128, 127);
                w += 18;
            }
        }
    }
}
