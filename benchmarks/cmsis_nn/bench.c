/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs the layers of reference networks through CMSIS-NN's public functions on random data: one function per layer, and one
 * more with weights of 4 bits where the library has a kernel for them, for a counter of instructions and cycles. networks.h,
 * written by compare.py, holds the shapes. No result is looked at. */
#include "arm_nnfunctions.h"
#include "networks.h"

#include <stdint.h>

#define ZERO_POINT (-128)
#define MAX_CHANNELS 1024

extern const uint32_t stack_top;
extern const int8_t weights[]; /* in flash, where a firmware has them */
__asm__(".section .rodata.weights, \"a\"\n .balign 4\n .global weights\n weights: .incbin \"weights.bin\"\n .text\n");
int main(void);

static int8_t activations[3][MAX_ACTIVATION];
static int8_t scratch[MAX_SCRATCH];
static int32_t biases[MAX_CHANNELS];
static int32_t multipliers[MAX_CHANNELS];
static int32_t shifts[MAX_CHANNELS];
static int failed;

static void leave(int status)
{
    /* Semihosting SYS_EXIT_EXTENDED: ADP_Stopped_ApplicationExit and a status. */
    static volatile uint32_t block[2];
    block[0] = 0x20026u;
    block[1] = (uint32_t)status;
    register uint32_t operation __asm__("r0") = 0x20u;
    register volatile uint32_t *argument __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(argument) : "memory");
    for (;;) {
    }
}

static void reset(void)
{
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* CPACR: floating point and Helium, where there are any */
    __asm__ volatile("dsb\n isb");
    leave(main());
}

static void fault(void)
{
    leave(99);
}

extern const void *const vectors[16];
__attribute__((section(".vectors"), used)) const void *const vectors[16] = {
    &stack_top, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault,
};

static uint32_t next_random(void)
{
    static uint32_t state = 1u;
    state = state * 1664525u + 1013904223u;
    return state >> 16;
}

static void fill(int8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (int8_t)next_random();
    }
}

static void check(arm_cmsis_nn_status status)
{
    if (status != ARM_CMSIS_NN_SUCCESS) {
        failed = 1;
    }
}

static void conv(const layer_t *layer, const int8_t *input, int8_t *output, int s4)
{
    const cmsis_nn_conv_params params = {
        128, ZERO_POINT, {layer->stride, layer->stride}, {layer->pad_w, layer->pad_h}, {1, 1}, {-128, 127}};
    const cmsis_nn_per_channel_quant_params quant = {multipliers, shifts};
    const cmsis_nn_dims in = {1, layer->in_h, layer->in_w, layer->in_c};
    const cmsis_nn_dims filter = {layer->out_c, layer->kernel_h, layer->kernel_w, layer->in_c};
    const cmsis_nn_dims bias = {1, 1, 1, layer->out_c};
    const cmsis_nn_dims out = {1, layer->out_h, layer->out_w, layer->out_c};
    const int32_t size = s4 ? arm_convolve_wrapper_s4_get_buffer_size(&params, &in, &filter, &out)
                            : arm_convolve_wrapper_s8_get_buffer_size(&params, &in, &filter, &out);
    const cmsis_nn_context context = {scratch, size};
    failed |= size > MAX_SCRATCH;
    check((s4 ? arm_convolve_wrapper_s4 : arm_convolve_wrapper_s8)(&context, &params, &quant, &in, input, &filter, weights,
                                                                   &bias, biases, &out, output));
}

static void depthwise(const layer_t *layer, const int8_t *input, int8_t *output, int s4)
{
    const cmsis_nn_dw_conv_params params = {
        128, ZERO_POINT, 1, {layer->stride, layer->stride}, {layer->pad_w, layer->pad_h}, {1, 1}, {-128, 127}};
    const cmsis_nn_per_channel_quant_params quant = {multipliers, shifts};
    const cmsis_nn_dims in = {1, layer->in_h, layer->in_w, layer->in_c};
    const cmsis_nn_dims filter = {1, layer->kernel_h, layer->kernel_w, layer->out_c};
    const cmsis_nn_dims bias = {1, 1, 1, layer->out_c};
    const cmsis_nn_dims out = {1, layer->out_h, layer->out_w, layer->out_c};
    const int32_t size = s4 ? arm_depthwise_conv_wrapper_s4_get_buffer_size(&params, &in, &filter, &out)
                            : arm_depthwise_conv_wrapper_s8_get_buffer_size(&params, &in, &filter, &out);
    const cmsis_nn_context context = {scratch, size};
    failed |= size > MAX_SCRATCH;
    check((s4 ? arm_depthwise_conv_wrapper_s4 : arm_depthwise_conv_wrapper_s8)(
        &context, &params, &quant, &in, input, &filter, weights, &bias, biases, &out, output));
}

static void fully_connected(const layer_t *layer, const int8_t *input, int8_t *output, int s4)
{
    const cmsis_nn_fc_params params = {128, 0, ZERO_POINT, {-128, 127}};
    const cmsis_nn_per_tensor_quant_params quant = {multipliers[0], shifts[0]};
    const cmsis_nn_dims in = {1, 1, 1, layer->in_c};
    const cmsis_nn_dims filter = {layer->in_c, 1, 1, layer->out_c};
    const cmsis_nn_dims bias = {1, 1, 1, layer->out_c};
    const cmsis_nn_dims out = {1, 1, 1, layer->out_c};
    const cmsis_nn_context context = {scratch, s4 ? 0 : arm_fully_connected_s8_get_buffer_size(&filter)};
    failed |= context.size > MAX_SCRATCH;
    check((s4 ? arm_fully_connected_s4 : arm_fully_connected_s8)(&context, &params, &quant, &in, input, &filter, weights,
                                                                 &bias, biases, &out, output));
}

static void pool(const layer_t *layer, const int8_t *input, int8_t *output)
{
    const cmsis_nn_pool_params params = {{1, 1}, {0, 0}, {-128, 127}};
    const cmsis_nn_dims in = {1, layer->in_h, layer->in_w, layer->in_c};
    const cmsis_nn_dims filter = {1, layer->kernel_h, layer->kernel_w, 1};
    const cmsis_nn_dims out = {1, 1, 1, layer->out_c};
    const cmsis_nn_context context = {scratch, arm_avgpool_s8_get_buffer_size(1, layer->in_c)};
    check(arm_avgpool_s8(&context, &params, &in, input, &filter, &out, output));
}

static void add(const layer_t *layer, const int8_t *one, const int8_t *other, int8_t *output)
{
    check(arm_elementwise_add_s8(one, other, 128, 1073741824, 0, 128, 1717986918, -1, 20, output, ZERO_POINT, 1431655765,
                                 -18, -128, 127, layer->in_h * layer->in_w * layer->in_c));
}

__attribute__((noinline)) static void run(const layer_t *layer, unsigned index, int s4)
{
    const int8_t *input = activations[index & 1u];
    int8_t *output = activations[~index & 1u];
    switch (layer->op) {
    case OP_CONV: conv(layer, input, output, s4); break;
    case OP_DEPTHWISE: depthwise(layer, input, output, s4); break;
    case OP_LINEAR: fully_connected(layer, input, output, s4); break;
    case OP_POOL: pool(layer, input, output); break;
    default: add(layer, input, activations[2], output); break;
    }
}

#define X(network, index, suffix, s4) \
    __attribute__((noinline, noclone, no_icf)) void run_##network##_##index##suffix(void) \
    { \
        run(&layers_##network[index], index, s4); \
    }
LAYERS(X)
#undef X

int main(void)
{
    for (int i = 0; i < 3; i++) {
        fill(activations[i], MAX_ACTIVATION);
    }
    for (int i = 0; i < MAX_CHANNELS; i++) {
        biases[i] = (int32_t)(next_random() & 0xfffu);
        multipliers[i] = (int32_t)(0x40000000u | next_random() << 12);
        shifts[i] = -8;
    }
#define X(network, index, suffix, s4) run_##network##_##index##suffix();
    LAYERS(X)
#undef X
    return failed;
}
