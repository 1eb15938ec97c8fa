#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * conv0: conv, kernel 1 x 1; 54 MACs
 *
 * in       (3, 3, 2) u2
 * out      (3, 3, 3) u8
 */
void net_l00_conv0(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 3; oy++) {
        for (int32_t ox = 0; ox < 3; ox++) {
            uint8_t *pixel = out + (oy * 3 + ox) * 3;
            const uint8_t *w = net_l00_conv0_w;
            for (int32_t oc = 0; oc < 3; oc++) {
                int32_t acc = 0;
                const uint8_t *x = in + oy * 3 + ox;
                for (int32_t c = 0; c < 2; c++) {
                    acc += net_load_u2(x, c) * net_load_s2(w, c);
                }
                pixel[oc] = (uint8_t)net_requantize(net_shift_left(acc, 12) + net_l00_conv0_b[oc],
                    net_l00_conv0_m[oc], 0, 0, 255);
                w += 1;
            }
        }
    }
}
