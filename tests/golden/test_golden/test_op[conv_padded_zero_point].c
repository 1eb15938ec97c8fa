#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * conv0: conv, kernel 3 x 3, stride 2 x 2, padding 1 0 1 0; 972 MACs
 *
 * in       (6, 5, 3) s8
 * out      (3, 2, 6) s8
 */
void net_l00_conv0(const int8_t *in, int8_t *out)
{
    for (int32_t oy = 0; oy < 3; oy++) {
        const int32_t iy = oy * 2 - 1;
        for (int32_t ox = 0; ox < 2; ox++) {
            const int32_t ix = ox * 2 - 1;
            int8_t *pixel = out + (oy * 2 + ox) * 6;
            const uint8_t *w = net_l00_conv0_w;
            /* channels 0 to 1: 8-bit weights */
            for (int32_t oc = 0; oc < 2; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                for (int32_t ky = 0; ky < 3; ky++) {
                    for (int32_t kx = 0; kx < 3; kx++) {
                        const int inside = (uint32_t)(iy + ky) < 6u && (uint32_t)(ix + kx) < 5u;
                        const int8_t *x = inside ? in + ((iy + ky) * 5 + ix + kx) * 3 : net_l00_conv0_pad;
                        for (int32_t c = 0; c < 3; c++) {
                            acc += x[c] * net_load_s8(w, (ky * 3 + kx) * 3 + c);
                        }
                    }
                }
                pixel[oc] = (int8_t)net_requantize(acc, net_l00_conv0_m[oc], -3, -128, 127);
                w += 27;
            }
            /* channels 2 to 3: 4-bit weights */
            for (int32_t oc = 2; oc < 4; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                for (int32_t ky = 0; ky < 3; ky++) {
                    for (int32_t kx = 0; kx < 3; kx++) {
                        const int inside = (uint32_t)(iy + ky) < 6u && (uint32_t)(ix + kx) < 5u;
                        const int8_t *x = inside ? in + ((iy + ky) * 5 + ix + kx) * 3 : net_l00_conv0_pad;
                        for (int32_t c = 0; c < 3; c++) {
                            acc += x[c] * net_load_s4(w, (ky * 3 + kx) * 3 + c);
                        }
                    }
                }
                pixel[oc] = (int8_t)net_requantize(acc, net_l00_conv0_m[oc], -3, -128, 127);
                w += 14;
            }
            /* channels 4 to 5: 2-bit weights */
            for (int32_t oc = 4; oc < 6; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                for (int32_t ky = 0; ky < 3; ky++) {
                    for (int32_t kx = 0; kx < 3; kx++) {
                        const int inside = (uint32_t)(iy + ky) < 6u && (uint32_t)(ix + kx) < 5u;
                        const int8_t *x = inside ? in + ((iy + ky) * 5 + ix + kx) * 3 : net_l00_conv0_pad;
                        for (int32_t c = 0; c < 3; c++) {
                            acc += x[c] * net_load_s2(w, (ky * 3 + kx) * 3 + c);
                        }
                    }
                }
                pixel[oc] = (int8_t)net_requantize(acc, net_l00_conv0_m[oc], -3, -128, 127);
                w += 7;
            }
        }
    }
}
