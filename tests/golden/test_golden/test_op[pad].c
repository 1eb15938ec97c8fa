#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * pad0: pad, padding 1 1 2 2
 *
 * in       (3, 3, 4) s8
 * out      (5, 7, 4) s8
 */
void net_l00_pad0(const int8_t *in, int8_t *out)
{
    int8_t *y = out;
    memset(y, 253, 28);
    y += 28;
    for (int32_t iy = 0; iy < 3; iy++) {
        memset(y, 253, 8);
        y += 8;
        memcpy(y, in + iy * 12, 12);
        y += 12;
        memset(y, 253, 8);
        y += 8;
    }
    memset(y, 253, 28);
    y += 28;
}
