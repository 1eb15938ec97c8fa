#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

/*
 * linear0: linear; 200 MACs
 *
 * in       (20) u8
 * out      (10) s8
 */
void net_l00_linear0(const uint8_t *in, int8_t *out)
{
    const uint8_t *w = net_l00_linear0_w;
    for (int32_t oc = 0; oc < 10; oc++) {
        int32_t acc = net_l00_linear0_b[oc];
        for (int32_t c = 0; c < 20; c++) {
            acc += in[c] * net_load_s4(w, c);
        }
        out[oc] = (int8_t)net_requantize(acc, net_l00_linear0_m[oc], -3, -128, 127);
        w += 10;
    }
}
