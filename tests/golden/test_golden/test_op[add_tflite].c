#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * add0: add
 *
 * in0      (3, 3, 4) s8
 * in1      (3, 3, 4) s8
 * out      (3, 3, 4) s8
 */
void net_l00_add0(const int8_t *in0, const int8_t *in1, int8_t *out)
{
    for (int32_t i = 0; i < 36; i++) {
        const int32_t a = in0[i];
        const int32_t b = in1[i];
        out[i] = (int8_t)net_requantize_double(net_multiply_double((a + 3) * 1048576, 1193046471, -1)
            + net_multiply_double((b - 5) * 1048576, 1073741824, 0), 1932735283, -19, 0, -128, 127);
    }
}
