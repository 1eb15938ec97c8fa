#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * conv0: conv, kernel 3 x 3, padding 1 1 1 1; 8640 MACs
 *
 * in       (6, 5, 4) u8
 * out      (6, 5, 8) u8
 */
void net_l00_conv0(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 6; oy++) {
        const int32_t iy = oy - 1;
        const int32_t ky_begin = iy < 0 ? -iy : 0;
        const int32_t ky_end = 6 - iy > 2 ? 3 : 6 - iy;
        for (int32_t ox = 0; ox < 5; ox++) {
            const int32_t ix = ox - 1;
            const int32_t kx_begin = ix < 0 ? -ix : 0;
            const int32_t kx_end = 5 - ix > 2 ? 3 : 5 - ix;
            uint8_t *pixel = out + (oy * 5 + ox) * 8;
            const int8_t *w = net_l00_conv0_w;
            for (int32_t oc = 0; oc < 8; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                for (int32_t ky = ky_begin; ky < ky_end; ky++) {
                    for (int32_t kx = kx_begin; kx < kx_end; kx++) {
                        const uint8_t *x = in + ((iy + ky) * 5 + ix + kx) * 4;
                        for (int32_t c = 0; c < 4; c++) {
                            acc += x[c] * w[(ky * 3 + kx) * 4 + c];
                        }
                    }
                }
                pixel[oc] = (uint8_t)net_requantize(acc, net_l00_conv0_m[oc], 0, 0, 255);
                w += 36;
            }
        }
    }
}
