#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * max0: max_pool, kernel 2 x 2, stride 2 x 2
 *
 * in       (6, 6, 5) s4
 * out      (3, 3, 5) s4
 */
void net_l00_max0(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 3; oy++) {
        const int32_t iy = oy * 2;
        for (int32_t ox = 0; ox < 3; ox++) {
            const int32_t ix = ox * 2;
            uint8_t *pixel = out + (oy * 3 + ox) * 3;
            for (int32_t c = 0; c < 5; c++) {
                int32_t greatest = -8;
                for (int32_t ky = 0; ky < 2; ky++) {
                    for (int32_t kx = 0; kx < 2; kx++) {
                        const uint8_t *x = in + ((iy + ky) * 6 + ix + kx) * 3;
                        greatest = net_max(greatest, net_load_s4(x, c));
                    }
                }
                net_store_4(pixel, c, greatest);
            }
        }
    }
}
