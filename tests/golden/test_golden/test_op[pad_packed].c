#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * pad0: pad, padding 1 0 0 1
 *
 * in       (2, 2, 3) s4
 * out      (3, 3, 3) s4
 */
void net_l00_pad0(const uint8_t *in, uint8_t *out)
{
    uint8_t *y = out;
    for (int32_t i = 0; i < 3; i++) {
        memcpy(y, net_l00_pad0_pad, 2);
        y += 2;
    }
    for (int32_t iy = 0; iy < 2; iy++) {
        memcpy(y, in + iy * 4, 4);
        y += 4;
        memcpy(y, net_l00_pad0_pad, 2);
        y += 2;
    }
}
