#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * concat0: concat, axis 0
 *
 * in0      (2, 3, 3) u4
 * in1      (1, 3, 3) u4
 * out      (3, 3, 3) u4
 */
void net_l00_concat0(const uint8_t *in0, const uint8_t *in1, uint8_t *out)
{
    memcpy(out, in0, 12);
    memcpy(out + 12, in1, 6);
}
