# SPDX-License-Identifier: Apache-2.0
"""The text of functions that run in bands: which bands share a statement, what they get, how they are called."""

from __future__ import annotations

from plinio_deploy.codegen import banded
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.lower import Program, Step, lower
from plinio_deploy.codegen.schedule import Bands, Schedule
from tests.networks import Builder

SAME = (1, 1, 1, 1)
U8, S8 = (8, False, 0.05, 0), (8, True, 0.05, -3)


def program(rows: int, *isa: str) -> Program:
    """Three convolutions, 3 x 3, 3 x 3 and 1 x 1, whose images have eight rows of eight bytes."""
    b = Builder(0)
    x = b.conv(b.input((8, 4, 2), S8), 2, padding=SAME, out=U8)
    x = b.conv(b.conv(x, 2, padding=SAME, out=U8), 2, (1, 1), out=S8)
    network = b.build(b.max_pool(x, (2, 2), (2, 2)))
    bands = Bands(first=network.ops[0].name, last=network.ops[2].name, rows=rows)
    return lower(network, "net", frozenset(isa), Schedule(bands=bands))


def functions(step: Step) -> dict[Site, str]:
    return {site: f"shape{index}" for index, site in enumerate(step.sites)}


def body(made: Program, index: int) -> list[str]:
    step = made.steps[index]
    return banded.body(made, step, functions(step)).splitlines()


def at(made: Program, index: int) -> str:
    """The buffer of the present rows of a layer's output."""
    offset = made.places[made.steps[index].site.output.name].offset
    return f"arena + {offset}" if offset else "arena"


def test_the_first_and_the_last_band_meet_padding() -> None:
    made = program(4)
    last = made.steps[0].calls[1]
    # The first layer goes one row ahead of the second, which has four rows per band: five rows, then three.
    assert [call.piece.rows for call in made.steps[0].calls] == [range(5), range(5, 8)]
    assert body(made, 0) == [
        "if (band == 0) {",
        f"shape0(in0, {at(made, 0)});",
        "} else if (band == 1) {",
        f"memcpy({at(made, 0)}, arena + {last.before[0].source}, 16);",
        f"shape1(in0 + 32, arena + {last.places[1].offset});",
        "}",
    ]
    assert last.places[1].offset == made.steps[0].calls[0].places[1].offset + 16


def test_bands_at_equal_distances_share_a_statement() -> None:
    made = program(2)
    assert [len(call.piece.rows) for call in made.steps[0].calls] == [3, 2, 2, 1]
    text = body(made, 0)
    assert [line for line in text if "if" in line] == [
        "if (band == 0) {",
        "} else if (band >= 1 && band <= 2) {",
        "} else if (band == 3) {",
    ]
    # Bands 1 and 2 read from rows 2 and 4 on, 16 and 32 bytes from the start.
    assert [line.partition(",")[0] for line in text if line.startswith("shape")] == [
        "shape0(in0",
        "shape1(in0 + band * 16",
        "shape2(in0 + 48",
    ]


def test_a_layer_whose_bands_are_all_alike_tests_nothing() -> None:
    made = program(2)
    offset = made.places[made.steps[2].site.output.name].offset
    assert all(call.places[1].offset == offset + 16 * band for band, call in enumerate(made.steps[2].calls))
    (line,) = body(made, 2)
    tail = f" + {offset}" if offset else ""
    assert line == f"shape0({at(made, 1)}, (int8_t *)(arena + band * 16{tail}));"


def test_kept_rows_are_copied_in_front_of_new_ones_and_aside_after_they_are_read() -> None:
    made = program(2)
    (before,) = {copy for call in made.steps[0].calls for copy in call.before}
    kept = f"arena + {before.source}" if before.source else "arena"
    writer, reader = body(made, 0), body(made, 1)
    ahead = f"memcpy({at(made, 0)}, {kept}, 16);"
    assert [index + 1 for index, line in enumerate(writer) if line == ahead] == [
        index for index, line in enumerate(writer) if line.startswith(("shape1", "shape2"))
    ]
    # Two rows are read again: of the three rows of the first band those from the second on, later of four the last two.
    start = made.places[made.steps[0].site.output.name].offset
    asides = [line for line in reader if line.startswith("memcpy")]
    assert asides == [f"memcpy({kept}, arena + {start + 8 * rows}, 16);" for rows in (1, 2)]
    assert all(reader[reader.index(line) - 1].startswith("shape") for line in asides)
    # Nothing is kept behind the last band.
    assert reader[-2].startswith("shape")


def test_scratch_is_the_last_argument() -> None:
    made = program(2, "dsp")
    step = made.steps[0]
    assert step.scratch is not None
    scratch = f"arena + {step.scratch}" if step.scratch else "arena"
    calls = [line for line in body(made, 0) if line.startswith("shape")]
    assert len(calls) == 3
    assert all(line.endswith(f", {scratch});") for line in calls)


def test_parameters_are_those_that_the_statements_use() -> None:
    made = program(4)
    first, last = made.steps[0], made.steps[2]
    assert banded.parameters(made, first, "\n".join(body(made, 0))) == (
        ("int32_t band", "0 to 1"),
        ("uint8_t *arena", "working memory"),
        ("const int8_t *in0", "(8, 4, 2) s8"),
    )
    assert banded.parameters(made, last, "shape0(in, out0_a, band2);") == ()
    assert banded.parameters(made, last, "shape0(out0);") == (("int8_t *out0", "(4, 2, 2) s8"),)


def test_calls_of_the_present_band_and_of_one_on_raw_buffers() -> None:
    made = program(4)
    step = made.steps[0]
    declared = ["int32_t band", "uint8_t *arena", "const int8_t *in0", "int8_t *out0"]
    assert banded.call(made, step, declared, None) == f"{step.symbol}(band, arena, in0, out0);"
    raw = f"{step.symbol}(1, arena, (const int8_t *)input, (int8_t *)output);"
    assert banded.call(made, step, declared, 1) == raw
