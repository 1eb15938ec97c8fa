# SPDX-License-Identifier: Apache-2.0
"""Layers as text: declarations, titles, what equal layers share, and the statements that call them."""

from __future__ import annotations

import re

from plinio_deploy.codegen.layers import Layer, Writer, run_statements, signature, trace_statements
from plinio_deploy.codegen.lower import Program, lower
from plinio_deploy.codegen.schedule import Bands, Schedule
from plinio_deploy.network import Network
from tests.codegen.dsp_cases import Given
from tests.networks import Builder

SAME = (1, 1, 1, 1)
U8, S8 = (8, False, 0.05, 0), (8, True, 0.05, -3)


def written(network: Network, *isa: str, bands: Bands | None = None) -> tuple[Program, list[Layer]]:
    made = lower(network, "net", frozenset(isa), Schedule(bands=bands))
    writer = Writer(made, "net")
    return made, [writer.layer(step) for step in made.steps]


def chain() -> Network:
    """Two 3 x 3 convolutions and a pool."""
    b = Builder(0)
    x = b.conv(b.conv(b.input((8, 4, 2), S8), 2, padding=SAME, out=U8), 2, padding=SAME, out=U8)
    return b.build(b.max_pool(x, (2, 2), (2, 2)))


def in_bands(rows: int) -> tuple[Program, list[Layer]]:
    network = chain()
    return written(network, bands=Bands(first=network.ops[0].name, last=network.ops[1].name, rows=rows))


def test_signature_is_the_declaration() -> None:
    assert signature("f", (("const int8_t *in", "codes"), ("uint8_t *out", "codes"))) == (
        "void f(const int8_t *in, uint8_t *out)"
    )
    assert signature("f", ()) == "void f()"
    _, layers = written(chain())
    assert layers[0].signature == f"void {layers[0].step.symbol}(const int8_t *in, uint8_t *out)"
    assert [what for _, what in layers[0].parameters] == ["(8, 4, 2) s8", "(8, 4, 2) u8"]


def test_scratch_is_a_parameter_of_layers_that_need_it() -> None:
    _, layers = written(chain(), "dsp")
    step = layers[0].step
    assert step.scratch is not None
    nbytes = step.kernel.scratch_bytes(step.site)
    assert layers[0].parameters[-1] == ("uint8_t *scratch", f"{nbytes} bytes")
    assert layers[0].run_call.endswith(f"arena + {step.scratch});" if step.scratch else "arena);")


def test_titles_name_the_geometry() -> None:
    b = Builder(0)
    x = b.conv(b.input((9, 6, 4), U8), 4, stride=(2, 1), padding=(1, 0, 1, 1), groups=4, out=U8)
    x = b.conv(x, 2, (1, 1), out=U8)
    _, layers = written(b.build(b.concat((x, x), 2)))
    depthwise, pointwise, joined = (layer.title.split(": ", 1)[1] for layer in layers)
    # Four rows of six pixels of four channels, nine taps each.
    assert depthwise == "conv, kernel 3 x 3, stride 2 x 1, padding 1 0 1 1, 4 groups; 864 MACs"
    assert pointwise == "conv, kernel 1 x 1; 192 MACs"
    assert joined == "concat, axis 2"


def test_equal_layers_share_a_body_and_parts() -> None:
    b = Given(0)
    b.pattern = (5, -7, 3)
    x = b.input((6, 6, 8), U8)
    for _ in range(2):
        x = b.conv(x, 8, padding=SAME, out=U8)
    network = b.build(b.conv(x, 8, padding=(1, 1, 1, 0), out=U8))
    _, (first, second, other) = written(network, "dsp")
    symbol = f"{first.step.symbol}_body"
    assert f"static void {symbol}(" in first.parts
    assert not second.parts
    assert second.shared == first.shared
    assert second.body.startswith(f"{symbol}(in, out, scratch, {second.step.symbol}_w")
    assert first.body.startswith(f"{symbol}(in, out, scratch, {first.step.symbol}_w")
    # Another geometry has its own body, but the same micro-kernels.
    assert f"static void {other.step.symbol}_body(" in other.parts
    assert other.body.startswith(f"{other.step.symbol}_body(")
    assert set(other.shared[:-1]) <= set(first.shared)
    assert len(first.shared) > 1


def test_constant_data_reaches_a_shared_body_as_arguments() -> None:
    b = Builder(0)
    b.conv(b.input((6, 6, 8), U8), 8, padding=SAME, out=U8)
    _, (layer,) = written(b.build(), "dsp")
    text = layer.parts[layer.parts.index("_body(") :]
    assert layer.arrays
    for name, array in layer.arrays:
        assert name == f"{layer.step.symbol}{array.suffix}"
        assert not re.search(rf"\b{name}\b", text)
        assert f"const {array.ctype} *data{array.suffix}" in text.splitlines()[0]


def test_shapes_of_bands_share_constant_data() -> None:
    _, layers = in_bands(2)
    conv = layers[0]
    assert conv.functions == tuple(f"{conv.step.symbol}_shape{index}" for index in range(len(conv.step.sites)))
    assert len(conv.functions) == 3
    assert all(conv.parts.count(f"static void {name}(") == 1 for name in conv.functions)
    names = [name for name, _ in conv.arrays]
    assert len(set(names)) == len(names)
    assert names.count(f"{conv.step.symbol}_w") == 1
    assert conv.title.endswith("; in 4 bands of rows")


def test_layers_in_bands_take_turns_and_the_others_run_once() -> None:
    _, layers = in_bands(4)
    first, second, pool = layers
    made, _ = in_bands(4)
    assert run_statements(made, layers) == [
        "for (int32_t band = 0; band < 2; band++) {",
        first.run_call,
        second.run_call,
        "}",
        pool.run_call,
    ]
    assert trace_statements(layers) == [
        first.trace_calls[0],
        second.trace_calls[0],
        first.trace_calls[1],
        second.trace_calls[1],
        *pool.trace_calls,
    ]
    assert len(pool.trace_calls) == 1


def test_whole_layers_are_called_in_order() -> None:
    made, layers = written(chain())
    assert run_statements(made, layers) == [layer.run_call for layer in layers]
    assert layers[0].run_call.startswith(f"{layers[0].step.symbol}(in0, ")
    assert layers[0].trace_calls[0].startswith(f"{layers[0].step.symbol}((const int8_t *)input, ")
