#include "net_selftest.h"

#include "net.h"
#include "net_vectors.h"

int net_selftest(uint8_t *arena, int32_t *first_bad)
{
    uint8_t output[NET_OUTPUT_BYTES];
    int32_t first = -1;
    int bad = 0;
    for (int32_t sample = 0; sample < NET_VECTORS; sample++) {
        const uint8_t *input = net_vector_inputs + sample * NET_INPUT_BYTES;
        const uint8_t *expected = net_vector_outputs + sample * NET_OUTPUT_BYTES;
        net_run(arena, (const int8_t *)input, (int8_t *)output);
        for (int32_t i = 0; i < NET_OUTPUT_BYTES; i++) {
            if (output[i] != expected[i]) {
                first = bad == 0 ? sample * NET_OUTPUT_BYTES + i : first;
                bad++;
            }
        }
    }
    if (first_bad != 0) {
        *first_bad = first;
    }
    return bad;
}
