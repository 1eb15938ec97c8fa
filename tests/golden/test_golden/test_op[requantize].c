#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * requantize0: requantize
 *
 * in       (3, 3, 5) u8
 * out      (3, 3, 5) u2
 */
void net_l00_requantize0(const uint8_t *in, uint8_t *out)
{
    for (int32_t row = 0; row < 9; row++) {
        const uint8_t *x0 = in + row * 5;
        uint8_t *y = out + row * 2;
        for (int32_t first = 0; first < 5; first += 4) {
            uint32_t byte = 0;
            for (int32_t lane = 0; lane < 4 && first + lane < 5; lane++) {
                const int32_t acc = x0[first + lane] + 9;
                const uint32_t code = (uint32_t)net_requantize(acc, 238609294, 0, 0, 3);
                byte |= (code & 3u) << (lane * 2);
            }
            y[first / 4] = (uint8_t)byte;
        }
    }
}
