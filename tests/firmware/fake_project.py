# SPDX-License-Identifier: Apache-2.0
"""A hand-written C project that keeps the contract of generated ones; small enough to compute by hand."""

from __future__ import annotations

from dataclasses import dataclass

from plinio_deploy.artifact import Artifact
from plinio_deploy.targets.build import BuildInputs, Layer

INPUT_BYTES = 16
OUTPUT_BYTES = 4
STEP_BYTES = (16, 16, 4)
DEEP_BYTES = 1200
"""Bytes of the local array of the second layer: the stack must be at least this deep."""

HEADER = """
#ifndef NET_H
#define NET_H
#include <stdint.h>
#define NET_ARENA_BYTES {arena}
#define NET_ARENA_ALIGN 8
#define NET_INPUT_BYTES 16
#define NET_OUTPUT_BYTES 4
void net_run(uint8_t *arena, const uint8_t *in0, int8_t *out0);
#endif
"""

LAYERS_HEADER = """
#ifndef NET_LAYERS_H
#define NET_LAYERS_H
#include <stdint.h>
void net_l00_first(const uint8_t *in, uint8_t *out);
void net_l01_deep(const uint8_t *in, uint8_t *out);
void net_l02_sum(const uint8_t *in, int8_t *out);
#endif
"""

NET = """
#include "net.h"
#include "net_layers.h"
void net_run(uint8_t *arena, const uint8_t *in0, int8_t *out0)
{
    net_l00_first(in0, arena);
    net_l01_deep(arena, arena + 16);
    net_l02_sum(arena + 16, out0);
}
"""

LAYERS = """
#include "net_layers.h"
#include "net_weights.h"
#include <string.h>
void net_l00_first(const uint8_t *in, uint8_t *out)
{
    for (uint32_t i = 0; i < 16u; i++) {
        out[i] = (uint8_t)(in[i] + (uint8_t)net_l00_first_w[i]);
    }
    @FIRST@
}
/* A frame of known size, a call of memcpy, and a 64-bit division, which is a library function on 32-bit cores. */
void net_l01_deep(const uint8_t *in, uint8_t *out)
{
    volatile uint8_t deep[1200];
    for (uint32_t i = 0; i < sizeof deep; i++) {
        deep[i] = in[i & 15u];
    }
    uint64_t sum = 1;
    for (uint32_t i = 0; i < sizeof deep; i++) {
        sum = sum * 31u + deep[i];
    }
    memcpy(out, in, 16u);
    out[0] = (uint8_t)(sum / (1u + (uint64_t)in[1]));
}
void net_l02_sum(const uint8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < 4u; i++) {
        uint32_t sum = 0;
        for (uint32_t j = 0; j < 4u; j++) {
            sum += in[4u * i + j];
        }
        out[i] = (int8_t)(uint8_t)sum;
    }
}
"""

WEIGHTS_HEADER = """
#ifndef NET_WEIGHTS_H
#define NET_WEIGHTS_H
#include <stdint.h>
extern const int8_t net_l00_first_w[{weights}];
#endif
"""

WEIGHTS = """
#include "net_weights.h"
const int8_t net_l00_first_w[{weights}] = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
"""

TRACE_HEADER = """
#ifndef NET_TRACE_H
#define NET_TRACE_H
#include <stdint.h>
typedef struct {
    const char *name;
    const char *tensor;
    uint32_t bytes;
    uint32_t place;
    uint32_t offset;
} net_step_t;
#define NET_STEPS 3
extern const net_step_t net_steps[NET_STEPS];
void net_step(uint32_t step, uint8_t *arena, const uint8_t *input, uint8_t *output);
void net_run_packed(uint8_t *arena, const uint8_t *input, uint8_t *output);
#endif
"""

TRACE = """
#include "net_trace.h"
#include "net.h"
#include "net_layers.h"
const net_step_t net_steps[NET_STEPS] = {
    {"first", "t0", 16, 0, 0},
    {"deep", "t1", 16, 0, 16},
    {"sum", "t2", 4, 1, 0},
};
void net_step(uint32_t step, uint8_t *arena, const uint8_t *input, uint8_t *output)
{
    if (step == 0u) {
        net_l00_first(input, arena);
    } else if (step == 1u) {
        net_l01_deep(arena, arena + 16);
    } else {
        net_l02_sum(arena + 16, (int8_t *)output);
    }
}
void net_run_packed(uint8_t *arena, const uint8_t *input, uint8_t *output)
{
    net_run(arena, input, (int8_t *)output);
}
"""


@dataclass(frozen=True)
class FakeProject:
    """The artifact and what to compile of it."""

    artifact: Artifact
    inputs: BuildInputs


def project(*, arena_bytes: int = 64, weights: int = 16, first: str = "", extra: str = "") -> FakeProject:
    """The project.

    Args:
        arena_bytes: of the arena; at least 32 are used.
        weights: entries of the first layer's weights; 16 are used, the others take space.
        first: statement at the end of the first layer, to make it misbehave.
        extra: declarations and functions in front of the layers.
    """
    files = {
        "net.h": HEADER.format(arena=arena_bytes),
        "net.c": NET,
        "net_layers.h": LAYERS_HEADER,
        "net_layers.c": extra + LAYERS.replace("@FIRST@", first),
        "net_weights.h": WEIGHTS_HEADER.format(weights=weights),
        "net_weights.c": WEIGHTS.format(weights=weights),
        "net_trace.h": TRACE_HEADER,
        "net_trace.c": TRACE,
    }
    inputs = BuildInputs(
        prefix="net",
        sources=("net.c", "net_layers.c", "net_weights.c"),
        trace_sources=("net_trace.c",),
        layers=(
            Layer("first", "net_l00_first", weights),
            Layer("deep", "net_l01_deep", 0),
            Layer("sum", "net_l02_sum", 0),
        ),
        arena_bytes=arena_bytes,
    )
    return FakeProject(Artifact({name: text.lstrip().encode() for name, text in files.items()}), inputs)


def reference(sample: bytes) -> tuple[bytes, bytes, bytes]:
    """The output of each step for one input of 16 bytes."""
    first = bytes((value + index + 1) & 0xFF for index, value in enumerate(sample))
    total = 1
    for index in range(DEEP_BYTES):
        total = (total * 31 + first[index & 15]) & 0xFFFF_FFFF_FFFF_FFFF
    deep = bytes([total // (1 + first[1]) & 0xFF]) + first[1:]
    return first, deep, bytes(sum(deep[4 * i : 4 * i + 4]) & 0xFF for i in range(4))
