#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * reshape0: reshape
 *
 * in       (2, 3, 3) u4
 * out      (1, 2, 9) u4
 */
void net_l00_reshape0(const uint8_t *in, uint8_t *out)
{
    for (int32_t i = 0; i < 18; i++) {
        const uint8_t *x = in + i / 3 * 2;
        uint8_t *y = out + i / 9 * 5;
        net_store_4(y, i % 9, net_load_u4(x, i % 3));
    }
}
