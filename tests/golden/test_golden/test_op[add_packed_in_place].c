#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"

/*
 * requantize0: requantize
 *
 * in       (2, 3, 3) u4
 * out      (2, 3, 3) s4
 */
void net_l00_requantize0(const uint8_t *in, uint8_t *out)
{
    for (int32_t row = 0; row < 6; row++) {
        const uint8_t *x0 = in + row * 2;
        uint8_t *y = out + row * 2;
        for (int32_t first = 0; first < 3; first += 2) {
            uint32_t byte = 0;
            for (int32_t lane = 0; lane < 2 && first + lane < 3; lane++) {
                const int32_t acc = net_load_u4(x0, first + lane);
                const uint32_t code = (uint32_t)net_requantize(net_shift_left(acc, 6) + 32, 67108864, 1, -8,
                    7);
                byte |= (code & 15u) << (lane * 4);
            }
            y[first / 2] = (uint8_t)byte;
        }
    }
}

/*
 * add1: add
 *
 * in0      (2, 3, 3) s4
 * in1      (2, 3, 3) s4
 * out      (2, 3, 3) s4
 */
void net_l01_add1(const uint8_t *in0, const uint8_t *in1, uint8_t *out)
{
    for (int32_t row = 0; row < 6; row++) {
        const uint8_t *x0 = in0 + row * 2;
        const uint8_t *x1 = in1 + row * 2;
        uint8_t *y = out + row * 2;
        for (int32_t first = 0; first < 3; first += 2) {
            uint32_t byte = 0;
            for (int32_t lane = 0; lane < 2 && first + lane < 3; lane++) {
                const int32_t a = net_load_s4(x0, first + lane);
                const int32_t b = net_load_s4(x1, first + lane);
                const uint32_t code = (uint32_t)net_clamp(a + b - 1, -8, 7);
                byte |= (code & 15u) << (lane * 4);
            }
            y[first / 2] = (uint8_t)byte;
        }
    }
}

/*
 * requantize2: requantize
 *
 * in       (2, 3, 3) s4
 * out      (2, 3, 3) u4
 */
void net_l02_requantize2(const uint8_t *in, uint8_t *out)
{
    for (int32_t row = 0; row < 6; row++) {
        const uint8_t *x0 = in + row * 2;
        uint8_t *y = out + row * 2;
        for (int32_t first = 0; first < 3; first += 2) {
            uint32_t byte = 0;
            for (int32_t lane = 0; lane < 2 && first + lane < 3; lane++) {
                const int32_t acc = net_load_s4(x0, first + lane);
                const uint32_t code = (uint32_t)net_requantize(net_shift_left(acc, 6) - 32, 67108864, 0, 0,
                    15);
                byte |= (code & 15u) << (lane * 4);
            }
            y[first / 2] = (uint8_t)byte;
        }
    }
}
