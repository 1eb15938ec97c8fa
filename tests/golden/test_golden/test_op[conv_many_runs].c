#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * conv0: conv, kernel 2 x 2; 1728 MACs
 *
 * in       (4, 4, 6) u4
 * out      (3, 3, 8) u2
 */
void net_l00_conv0(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 3; oy++) {
        for (int32_t ox = 0; ox < 3; ox++) {
            uint8_t *pixel = out + (oy * 3 + ox) * 2;
            const uint8_t *w = net_l00_conv0_w;
            for (int32_t oc = 0; oc < 8; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                switch (net_l00_conv0_bits[oc]) {
                    case 8: {
                        for (int32_t ky = 0; ky < 2; ky++) {
                            for (int32_t kx = 0; kx < 2; kx++) {
                                const uint8_t *x = in + ((oy + ky) * 4 + ox + kx) * 3;
                                for (int32_t c = 0; c < 6; c++) {
                                    acc += net_load_u4(x, c) * net_load_s8(w, (ky * 2 + kx) * 6 + c);
                                }
                            }
                        }
                        w += 24;
                        break;
                    }
                    case 4: {
                        for (int32_t ky = 0; ky < 2; ky++) {
                            for (int32_t kx = 0; kx < 2; kx++) {
                                const uint8_t *x = in + ((oy + ky) * 4 + ox + kx) * 3;
                                for (int32_t c = 0; c < 6; c++) {
                                    acc += net_load_u4(x, c) * net_load_s4(w, (ky * 2 + kx) * 6 + c);
                                }
                            }
                        }
                        w += 12;
                        break;
                    }
                    default: /* 2 */ {
                        for (int32_t ky = 0; ky < 2; ky++) {
                            for (int32_t kx = 0; kx < 2; kx++) {
                                const uint8_t *x = in + ((oy + ky) * 4 + ox + kx) * 3;
                                for (int32_t c = 0; c < 6; c++) {
                                    acc += net_load_u4(x, c) * net_load_s2(w, (ky * 2 + kx) * 6 + c);
                                }
                            }
                        }
                        w += 6;
                        break;
                    }
                }
                net_store_2(pixel, oc, net_requantize(acc, net_l00_conv0_m[oc], 0, 0, 3));
            }
        }
    }
}
