#include "net_trace.h"

#include "net_layers.h"

const net_step_t net_steps[NET_STEPS] = {
    {"conv0", "t1", 800, 0, 0},
    {"conv1", "t2", 800, 0, 800},
    {"conv2", "t3", 800, 0, 1600},
    {"add3", "t4", 800, 0, 0},
    {"conv4", "t5", 150, 0, 1000},
    {"conv5", "t6", 200, 0, 800},
    {"conv6", "t7", 100, 0, 252},
    {"concat7", "t8", 250, 0, 0},
    {"requantize8", "t9", 250, 0, 0},
    {"avg9", "t10", 10, 0, 252},
    {"linear11", "t12", 10, 1, 0},
};

void net_step(uint32_t step, uint8_t *arena, const uint8_t *input, uint8_t *output)
{
    switch (step) {
        case 0:
            net_l00_conv0((const int8_t *)input, arena);
            break;
        case 1:
            net_l01_conv1(arena, (int8_t *)(arena + 800));
            break;
        case 2:
            net_l02_conv2((const int8_t *)(arena + 800), (int8_t *)(arena + 1600));
            break;
        case 3:
            net_l03_add3(arena, (const int8_t *)(arena + 1600), arena);
            break;
        case 4:
            net_l04_conv4(arena, (int8_t *)(arena + 1000));
            break;
        case 5:
            net_l05_conv5(arena, (int8_t *)(arena + 800));
            break;
        case 6:
            net_l06_conv6((const int8_t *)(arena + 800), (int8_t *)(arena + 252));
            break;
        case 7:
            net_l07_concat7((const int8_t *)(arena + 1000), (const int8_t *)(arena + 252), (int8_t *)arena);
            break;
        case 8:
            net_l08_requantize8((const int8_t *)arena, arena);
            break;
        case 9:
            net_l09_avg9(arena, arena + 252);
            break;
        case 10:
            net_l10_linear11(arena + 252, (int8_t *)output);
            break;
        default:
            break;
    }
}

void net_run_packed(uint8_t *arena, const uint8_t *input, uint8_t *output)
{
    net_run(arena, (const int8_t *)input, (int8_t *)output);
}
