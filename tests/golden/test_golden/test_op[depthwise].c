#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * conv0: conv, kernel 3 x 3, padding 1 1 1 1, 8 groups; 2592 MACs
 *
 * in       (6, 6, 8) u8
 * out      (6, 6, 8) u8
 */
void net_l00_conv0(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 6; oy++) {
        const int32_t iy = oy - 1;
        const int32_t ky_begin = iy < 0 ? -iy : 0;
        const int32_t ky_end = 6 - iy > 2 ? 3 : 6 - iy;
        for (int32_t ox = 0; ox < 6; ox++) {
            const int32_t ix = ox - 1;
            const int32_t kx_begin = ix < 0 ? -ix : 0;
            const int32_t kx_end = 6 - ix > 2 ? 3 : 6 - ix;
            uint8_t *pixel = out + (oy * 6 + ox) * 8;
            const int8_t *w = net_l00_conv0_w;
            for (int32_t oc = 0; oc < 8; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                for (int32_t ky = ky_begin; ky < ky_end; ky++) {
                    for (int32_t kx = kx_begin; kx < kx_end; kx++) {
                        const uint8_t *x = in + ((iy + ky) * 6 + ix + kx) * 8;
                        acc += x[oc] * w[ky * 3 + kx];
                    }
                }
                pixel[oc] = (uint8_t)net_requantize(acc, net_l00_conv0_m[oc], 0, 0, 255);
                w += 9;
            }
        }
    }
}
