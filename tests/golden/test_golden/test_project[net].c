#include "net.h"

#include "net_layers.h"

void net_run(uint8_t *arena, const int8_t *in0, int8_t *out0)
{
    net_l00_conv0(in0, arena);
    net_l01_conv1(arena, (int8_t *)(arena + 800));
    net_l02_conv2((const int8_t *)(arena + 800), (int8_t *)(arena + 1600));
    net_l03_add3(arena, (const int8_t *)(arena + 1600), arena);
    net_l04_conv4(arena, (int8_t *)(arena + 1000));
    net_l05_conv5(arena, (int8_t *)(arena + 800));
    net_l06_conv6((const int8_t *)(arena + 800), (int8_t *)(arena + 252));
    net_l07_concat7((const int8_t *)(arena + 1000), (const int8_t *)(arena + 252), (int8_t *)arena);
    net_l08_requantize8((const int8_t *)arena, arena);
    net_l09_avg9(arena, arena + 252);
    net_l10_linear11(arena + 252, out0);
}
