#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * concat0: concat, axis 2
 *
 * in0      (3, 3, 4) u8
 * in1      (3, 3, 2) u8
 * out      (3, 3, 6) u8
 */
void net_l00_concat0(const uint8_t *in0, const uint8_t *in1, uint8_t *out)
{
    for (int32_t i = 0; i < 9; i++) {
        memcpy(out + i * 6, in0 + i * 4, 4);
        memcpy(out + i * 6 + 4, in1 + i * 2, 2);
    }
}
