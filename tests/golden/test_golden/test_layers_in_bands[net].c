#include "net.h"

#include "net_layers.h"

void net_run(uint8_t *arena, const int8_t *in0, uint8_t *out0)
{
    for (int32_t band = 0; band < 4; band++) {
        net_l00_conv0(band, arena, in0);
        net_l01_conv1(band, arena);
    }
    net_l02_max2(arena, out0);
}
