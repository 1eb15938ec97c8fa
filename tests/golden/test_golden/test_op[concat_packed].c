#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * concat0: concat, axis 2
 *
 * in0      (3, 3, 3) u4
 * in1      (3, 3, 2) u4
 * out      (3, 3, 5) u4
 */
void net_l00_concat0(const uint8_t *in0, const uint8_t *in1, uint8_t *out)
{
    for (int32_t row = 0; row < 9; row++) {
        uint8_t *y = out + row * 3;
        for (int32_t c = 0; c < 3; c++) {
            const uint8_t *x = in0 + row * 2;
            net_store_4(y, c, net_load_u4(x, c));
        }
        for (int32_t c = 0; c < 2; c++) {
            const uint8_t *x = in1 + row;
            net_store_4(y, c + 3, net_load_u4(x, c));
        }
    }
}
