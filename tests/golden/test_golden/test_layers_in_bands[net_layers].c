#include "net_layers.h"

#include <string.h>

#include "net_kernels.h"
#include "net_weights.h"

static void net_l00_conv0_shape0(const int8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 3; oy++) {
        const int32_t iy = oy - 1;
        for (int32_t ox = 0; ox < 4; ox++) {
            const int32_t ix = ox - 1;
            uint8_t *pixel = out + (oy * 4 + ox) * 2;
            const int8_t *w = net_l00_conv0_w;
            for (int32_t oc = 0; oc < 2; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                for (int32_t ky = 0; ky < 3; ky++) {
                    for (int32_t kx = 0; kx < 3; kx++) {
                        const int inside = (uint32_t)(iy + ky) < 4u && (uint32_t)(ix + kx) < 4u;
                        const int8_t *x = inside ? in + ((iy + ky) * 4 + ix + kx) * 2 : net_l00_conv0_pad;
                        for (int32_t c = 0; c < 2; c++) {
                            acc += x[c] * w[(ky * 3 + kx) * 2 + c];
                        }
                    }
                }
                pixel[oc] = (uint8_t)net_requantize(acc, net_l00_conv0_m[oc], 0, 0, 255);
                w += 18;
            }
        }
    }
}

static void net_l00_conv0_shape1(const int8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 2; oy++) {
        for (int32_t ox = 0; ox < 4; ox++) {
            const int32_t ix = ox - 1;
            uint8_t *pixel = out + (oy * 4 + ox) * 2;
            const int8_t *w = net_l00_conv0_w;
            for (int32_t oc = 0; oc < 2; oc++) {
                int32_t acc = net_l00_conv0_b[oc];
                for (int32_t ky = 0; ky < 3; ky++) {
                    for (int32_t kx = 0; kx < 3; kx++) {
                        const int inside = (uint32_t)(ix + kx) < 4u;
                        const int8_t *x = inside ? in + ((oy + ky) * 4 + ix + kx) * 2 : net_l00_conv0_pad;
                        for (int32_t c = 0; c < 2; c++) {
                            acc += x[c] * w[(ky * 3 + kx) * 2 + c];
                        }
                    }
                }
                pixel[oc] = (uint8_t)net_requantize(acc, net_l00_conv0_m[oc], 0, 0, 255);
                w += 18;
            }
        }
    }
}

static void net_l00_conv0_shape2(const int8_t *in, uint8_t *out)
{
    for (int32_t ox = 0; ox < 4; ox++) {
        const int32_t ix = ox - 1;
        uint8_t *pixel = out + ox * 2;
        const int8_t *w = net_l00_conv0_w;
        for (int32_t oc = 0; oc < 2; oc++) {
            int32_t acc = net_l00_conv0_b[oc];
            for (int32_t ky = 0; ky < 3; ky++) {
                for (int32_t kx = 0; kx < 3; kx++) {
                    const int inside = (uint32_t)(ky) < 2u && (uint32_t)(ix + kx) < 4u;
                    const int8_t *x = inside ? in + (ky * 4 + ix + kx) * 2 : net_l00_conv0_pad;
                    for (int32_t c = 0; c < 2; c++) {
                        acc += x[c] * w[(ky * 3 + kx) * 2 + c];
                    }
                }
            }
            pixel[oc] = (uint8_t)net_requantize(acc, net_l00_conv0_m[oc], 0, 0, 255);
            w += 18;
        }
    }
}

/*
 * conv0: conv, kernel 3 x 3, padding 1 1 1 1; 1152 MACs; in 4 bands of rows
 *
 * band     0 to 3
 * arena    working memory
 * in0      (8, 4, 2) s8
 */
void net_l00_conv0(int32_t band, uint8_t *arena, const int8_t *in0)
{
    if (band == 0) {
        net_l00_conv0_shape0(in0, arena + 64);
    } else if (band >= 1 && band <= 2) {
        memcpy(arena + 64, arena + 96, 16);
        net_l00_conv0_shape1(in0 + band * 16, arena + 80);
    } else if (band == 3) {
        memcpy(arena + 64, arena + 96, 16);
        net_l00_conv0_shape2(in0 + 48, arena + 80);
    }
}

static void net_l01_conv1_shape0(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 2; oy++) {
        const int32_t iy = oy - 1;
        const int32_t ky_begin = iy < 0 ? -iy : 0;
        for (int32_t ox = 0; ox < 4; ox++) {
            uint8_t *pixel = out + (oy * 4 + ox) * 2;
            const int8_t *w = net_l01_conv1_w;
            for (int32_t oc = 0; oc < 2; oc++) {
                int32_t acc = net_l01_conv1_b[oc];
                for (int32_t ky = ky_begin; ky < 3; ky++) {
                    const uint8_t *x = in + ((iy + ky) * 4 + ox) * 2;
                    for (int32_t c = 0; c < 2; c++) {
                        acc += x[c] * w[ky * 2 + c];
                    }
                }
                pixel[oc] = (uint8_t)net_requantize(acc, net_l01_conv1_m[oc], 0, 0, 255);
                w += 6;
            }
        }
    }
}

static void net_l01_conv1_shape1(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 2; oy++) {
        for (int32_t ox = 0; ox < 4; ox++) {
            uint8_t *pixel = out + (oy * 4 + ox) * 2;
            const int8_t *w = net_l01_conv1_w;
            for (int32_t oc = 0; oc < 2; oc++) {
                int32_t acc = net_l01_conv1_b[oc];
                for (int32_t ky = 0; ky < 3; ky++) {
                    const uint8_t *x = in + ((oy + ky) * 4 + ox) * 2;
                    for (int32_t c = 0; c < 2; c++) {
                        acc += x[c] * w[ky * 2 + c];
                    }
                }
                pixel[oc] = (uint8_t)net_requantize(acc, net_l01_conv1_m[oc], 0, 0, 255);
                w += 6;
            }
        }
    }
}

static void net_l01_conv1_shape2(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 2; oy++) {
        const int32_t ky_end = 3 - oy > 2 ? 3 : 3 - oy;
        for (int32_t ox = 0; ox < 4; ox++) {
            uint8_t *pixel = out + (oy * 4 + ox) * 2;
            const int8_t *w = net_l01_conv1_w;
            for (int32_t oc = 0; oc < 2; oc++) {
                int32_t acc = net_l01_conv1_b[oc];
                for (int32_t ky = 0; ky < ky_end; ky++) {
                    const uint8_t *x = in + ((oy + ky) * 4 + ox) * 2;
                    for (int32_t c = 0; c < 2; c++) {
                        acc += x[c] * w[ky * 2 + c];
                    }
                }
                pixel[oc] = (uint8_t)net_requantize(acc, net_l01_conv1_m[oc], 0, 0, 255);
                w += 6;
            }
        }
    }
}

/*
 * conv1: conv, kernel 3 x 1, padding 1 1 0 0; 384 MACs; in 4 bands of rows
 *
 * band     0 to 3
 * arena    working memory
 */
void net_l01_conv1(int32_t band, uint8_t *arena)
{
    if (band == 0) {
        net_l01_conv1_shape0(arena + 64, arena);
        memcpy(arena + 96, arena + 72, 16);
    } else if (band >= 1 && band <= 2) {
        net_l01_conv1_shape1(arena + 64, arena + band * 16);
        memcpy(arena + 96, arena + 80, 16);
    } else if (band == 3) {
        net_l01_conv1_shape2(arena + 64, arena + 48);
    }
}

/*
 * max2: max_pool, kernel 2 x 2, stride 2 x 2
 *
 * in       (8, 4, 2) u8
 * out      (4, 2, 2) u8
 */
void net_l02_max2(const uint8_t *in, uint8_t *out)
{
    for (int32_t oy = 0; oy < 4; oy++) {
        const int32_t iy = oy * 2;
        for (int32_t ox = 0; ox < 2; ox++) {
            const int32_t ix = ox * 2;
            uint8_t *pixel = out + (oy * 2 + ox) * 2;
            for (int32_t c = 0; c < 2; c++) {
                int32_t greatest = 0;
                for (int32_t ky = 0; ky < 2; ky++) {
                    for (int32_t kx = 0; kx < 2; kx++) {
                        const uint8_t *x = in + ((iy + ky) * 4 + ix + kx) * 2;
                        greatest = net_max(greatest, x[c]);
                    }
                }
                pixel[c] = (uint8_t)greatest;
            }
        }
    }
}
