# SPDX-License-Identifier: Apache-2.0
"""Kernels on request: what is asked for is taken where it is faster, what is ruled out is not."""

from __future__ import annotations

import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.codegen.lower import lower
from plinio_deploy.codegen.requested import ARENA, Requested, Winograd, schedule
from plinio_deploy.network import Network
from tests.networks import Builder

DSP = frozenset({"dsp"})
ON_REQUEST = [kernel for kernel in registry.kernels() if kernel.on_request]


def block() -> Network:
    """Convolutions, one of which an add may execute, and a matrix product."""
    b = Builder(0)
    u8 = (8, False, 0.05, 0)
    x = b.conv(b.input((16, 16, 16), u8), 16, padding=(1, 1, 1, 1), out=u8)
    x = b.add(x, b.conv(x, 16, padding=(1, 1, 1, 1), out=u8), u8)
    x = b.conv(x, 8, padding=(1, 1, 1, 1), stride=(2, 2), out=u8)
    return b.build(b.linear(b.flatten(x), 12))


def taken(asked: Requested, isa: frozenset[str] = DSP) -> list[str]:
    return [step.kernel.name for step in lower(block(), "net", isa, schedule(block(), isa, asked)).steps]


def test_nothing_asked_for_or_ruled_out_leaves_the_default() -> None:
    default = [step.kernel.name for step in lower(block(), "net", DSP).steps]
    assert taken(Requested()) == taken(Requested("none", adds_along=False, wide=False)) == default
    assert not any("winograd" in name or "wide" in name for name in default)


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (Requested("flash"), ["conv_winograd", "conv_winograd", "add", "conv_dsp", "linear"]),
        (Requested("scratch"), ["conv_winograd_scratch(", "conv_dsp", "add", "conv_dsp", "linear"]),  # one has room
        (Requested(adds_along=True), ["conv_dsp", "conv_dsp_add", "conv_dsp", "linear"]),
        (Requested(wide=True), ["conv_wide", "conv_wide", "add", "conv_wide", "linear_wide"]),
        (Requested("flash", True, True), ["conv_winograd", "conv_winograd_add", "conv_wide", "linear_wide"]),
    ],
)
def test_what_is_asked_for_is_taken_where_it_is_faster(asked: Requested, parts: list[str]) -> None:
    names = taken(asked)
    assert len(names) == len(parts)
    assert all(name.startswith(part) for name, part in zip(names, parts, strict=True)), names
    if asked.winograd == "flash":
        assert not any("scratch" in name for name in names)


def test_scratch_lets_the_arena_grow_by_a_tenth_at_most() -> None:
    default = lower(block(), "net", DSP).memory.arena_bytes
    for along in (False, True):
        asked = schedule(block(), DSP, Requested("scratch", along))
        assert lower(block(), "net", DSP, asked).memory.arena_bytes <= ARENA * default


def test_a_core_without_such_kernels_keeps_its_own() -> None:
    assert taken(Requested("flash", True, True), frozenset()) == taken(Requested(), frozenset())


@pytest.mark.parametrize(
    ("winograd", "wide", "allowed"),
    [
        ("none", False, set()),
        ("none", True, {"wide"}),
        ("scratch", False, {"scratch"}),
        ("flash", False, {"scratch", "winograd"}),
        ("flash", True, {"scratch", "winograd", "wide"}),
    ],
)
def test_what_a_tuner_may_take(winograd: Winograd, wide: bool, allowed: set[str]) -> None:
    asked = Requested(winograd, wide=wide)
    found = {
        next(part for part in ("scratch", "winograd", "wide") if part in kernel.name)
        for kernel in ON_REQUEST
        if asked.allows(kernel, otherwise=False)
    }
    assert found == allowed


@pytest.mark.parametrize("otherwise", [False, True])
def test_where_nothing_is_said_the_tuner_decides(otherwise: bool) -> None:
    assert ON_REQUEST
    assert all(Requested().allows(kernel, otherwise=otherwise) is otherwise for kernel in ON_REQUEST)
    others = [kernel for kernel in registry.kernels() if not kernel.on_request]
    assert all(Requested("none", wide=False).allows(kernel, otherwise=False) for kernel in others)
