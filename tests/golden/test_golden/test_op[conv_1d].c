#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * conv0: conv, kernel 1 x 5, padding 0 0 4 0; 1280 MACs
 *
 * in       (1, 16, 4) u8
 * out      (1, 16, 4) u8
 */
void net_l00_conv0(const uint8_t *in, uint8_t *out)
{
    for (int32_t ox = 0; ox < 16; ox++) {
        const int32_t ix = ox - 4;
        const int32_t kx_begin = ix < 0 ? -ix : 0;
        uint8_t *pixel = out + ox * 4;
        const int8_t *w = net_l00_conv0_w;
        for (int32_t oc = 0; oc < 4; oc++) {
            int32_t acc = net_l00_conv0_b[oc];
            for (int32_t kx = kx_begin; kx < 5; kx++) {
                const uint8_t *x = in + (ix + kx) * 4;
                for (int32_t c = 0; c < 4; c++) {
                    acc += x[c] * w[kx * 4 + c];
                }
            }
            pixel[oc] = (uint8_t)net_requantize(acc, net_l00_conv0_m[oc], 0, 0, 255);
            w += 20;
        }
    }
}
