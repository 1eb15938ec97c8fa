# SPDX-License-Identifier: Apache-2.0
"""Places, aliases, lifetimes, and outputs in place: on fixed and random networks."""

from __future__ import annotations

from itertools import combinations

import pytest

from plinio_deploy.codegen.lower import Program, lower
from plinio_deploy.network import Network
from tests.networks import NETWORKS, Builder, random_network

PORTABLE: frozenset[str] = frozenset()


def span(program: Program, name: str) -> tuple[int, int]:
    """First and one past the last byte of an arena tensor."""
    offset = program.places[name].offset
    return offset, offset + program.network.tensors[name].nbytes


def overlap(program: Program, one: str, other: str) -> bool:
    (a, b), (c, d) = span(program, one), span(program, other)
    return a < d and c < b


def check(network: Network) -> None:
    program = lower(network, "net", PORTABLE)
    assert set(program.places) == set(network.tensors)
    assert program.memory.arena_bytes <= 1.05 * program.memory.bound_bytes
    for name in program.lifetimes:
        assert span(program, name)[1] <= program.memory.arena_bytes
        assert program.places[name].offset % 4 == 0
    for one, other in combinations(program.lifetimes, 2):
        (first, last), (begin, end) = program.lifetimes[one], program.lifetimes[other]
        if first > end or begin > last or not overlap(program, one, other):
            continue
        earlier, later = (one, other) if first < begin else (other, one)
        step = program.steps[program.lifetimes[later][0]]
        allowed = {step.site.inputs[i].name for i in step.kernel.in_place(step.site)}
        sources = {program.aliases.get(name, name) for name in allowed}
        assert step.site.output.name == later, f"{one} and {other} share bytes while both live"
        assert earlier in sources, f"{later} overwrites {earlier}, which its kernel does not allow"
        assert program.lifetimes[earlier][1] == step.index, f"{later} overwrites {earlier} before it dies"
        assert span(program, earlier) == span(program, later)
    for name, source in program.aliases.items():
        assert network.tensors[name].nbytes == network.tensors[source].nbytes
        assert program.places[name] == program.places[source]
    for kind, names in (("input", network.inputs), ("output", network.outputs)):
        for index, name in enumerate(names):
            assert (program.places[name].kind, program.places[name].index) == (kind, index)


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
@pytest.mark.parametrize("name", NETWORKS)
def test_fixed_networks(name: str, flavour: str) -> None:
    check(NETWORKS[name]("hi32" if flavour == "hi32" else "tflite"))


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_random_networks(first: int) -> None:
    for seed in range(first, first + 50):
        check(random_network(seed, ops=10))


def test_a_requantization_overwrites_its_dying_input_and_no_other() -> None:
    b = Builder(1)
    q = (8, False, 0.1, 0)
    x = b.conv(b.input((4, 4, 2)), 4, (1, 1), out=q)
    y = b.requantize(x, q)
    z = b.requantize(y, (8, True, 0.1, 0))
    program = lower(b.build(b.conv(b.add(y, z, q), 1, (1, 1))), "net", PORTABLE)
    assert program.places[y] == program.places[x]
    assert program.places[z].offset != program.places[y].offset
    assert program.memory.arena_bytes == 2 * 64


def test_a_requantization_to_other_bits_needs_its_own_bytes() -> None:
    b = Builder(1)
    x = b.conv(b.input((4, 4, 2)), 4, (1, 1), out=(8, False, 0.1, 0))
    y = b.requantize(x, (4, False, 0.1, 0))
    program = lower(b.build(b.conv(y, 1, (1, 1))), "net", PORTABLE)
    assert not overlap(program, x, y)


def test_the_callers_input_is_never_overwritten() -> None:
    b = Builder(1)
    x = b.requantize(b.input((4, 4, 2), (8, False, 0.1, 0)), (8, False, 0.2, 0))
    program = lower(b.build(b.conv(x, 1, (1, 1))), "net", PORTABLE)
    assert [program.places[name].kind for name in ("t0", x)] == ["input", "arena"]


def test_a_reshape_is_no_step_unless_a_caller_owns_both_ends() -> None:
    b = Builder(1)
    x = b.input((2, 2, 4), (8, False, 0.1, 0))
    flat = b.flatten(x)
    program = lower(b.build(flat, b.linear(flat, 3)), "net", PORTABLE)
    assert [step.kernel.name for step in program.steps] == ["reshape_copy", "linear_plain"]
    assert program.aliases == {}
    b = Builder(1)
    flat = b.flatten(b.input((2, 2, 4), (8, False, 0.1, 0)))
    program = lower(b.build(b.reshape(b.linear(flat, 4), (1, 2, 2))), "net", PORTABLE)
    assert [step.kernel.name for step in program.steps] == ["linear_plain"]
    assert program.aliases == {"t1": "t0", "t3": "t2"}
    assert program.places["t2"].kind == "output"
    assert program.memory.arena_bytes == 0


def test_rows_that_end_within_a_byte_are_packed_anew_by_a_reshape() -> None:
    b = Builder(1)
    x = b.conv(b.input((2, 2, 4)), 3, (1, 1), out=(4, False, 0.1, 0))
    program = lower(b.build(b.linear(b.flatten(x), 3)), "net", PORTABLE)
    assert [step.kernel.name for step in program.steps] == ["conv_plain", "reshape_pack", "linear_plain"]
