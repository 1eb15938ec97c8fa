# SPDX-License-Identifier: Apache-2.0
"""Kernels for RV32IM and the PULP extension: plain C twins on this machine, assembly in QEMU and on RTL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen import pack, registry
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.rv32 import assembly, swar, xpulp
from plinio_deploy.codegen.rv32.gemm import MAX_RUNS, gemm_of
from plinio_deploy.network import Conv, Hi32, Linear, Network, runs_of
from plinio_deploy.targets import registry as targets
from tests.codegen import edge_cases
from tests.codegen.harness import Case, check_networks, kernel_names, make_case
from tests.codegen.test_cores import check_on
from tests.networks import Builder, random_network

PLAIN = ("rv32im",)
PULP = ("rv32im", "xpulp")
MIXED = (8, 8, 8, 4, 4, 2)
U8, S8, U4 = edge_cases.U8, edge_cases.S8_ZERO_POINT, (4, False, 0.4, 0)


def packed(seed: int = 5) -> Network:
    """Activations below 8 bits on either side, blocks of two, four and eight pixels, the last one overlapping."""
    b = Builder(seed, name="packed")
    for quantizer, channels in ((U4, 5), ((2, True, 0.5, -1), 8), (S8, 3)):
        for shape, widths in (((1, 2), ((4,),)), ((1, 3), ((8,), (2,))), ((3, 2), ((4,),)), ((3, 5), ((8,), MIXED))):
            x = b.input((*shape, channels), quantizer)
            for w_bits in widths:
                b.conv(x, 6, padding=(1, 1, 1, 1), w_bits=w_bits, out=U4, per_channel=False)
    return b.build()


def saturated(seed: int = 6) -> Network:
    """Weights and activations at their least and greatest: the worst case of sums in 16 bits."""
    b = Builder(seed, name="saturated")
    for quantizer in (U8, S8):
        for bits in (8, 4, 2):
            b.conv(b.input((3, 3, 8), quantizer), 8, padding=(1, 1, 1, 1), w_bits=(bits,), out=S8, gain=60.0)
            codes = b.ops[-1].weights.codes  # type: ignore[union-attr]
            codes[0], codes[1] = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
            codes[2, :, :, ::2], codes[2, :, :, 1::2] = codes[0, 0, 0, 0], codes[1, 0, 0, 0]
    return b.build()


def shifted(seed: int = 7) -> Network:
    """Scales so great that sums are shifted before they are multiplied: they start from 0 and take the bias late."""
    b = Builder(seed, name="shifted")
    for quantizer in (U4, (2, True, 0.5, -1), U8):
        x, narrow = b.input((5, 5, 6), quantizer), quantizer[0] < 8
        for w_bits in ((2,), (4,), MIXED) if narrow else ((2,),):
            for out in (U8, S8) if narrow else (U8,):
                b.conv(x, 6, padding=(1, 1, 1, 1), w_bits=w_bits, out=out, gain=1.0 if narrow else 0.5)
            b.linear(b.input((21,), quantizer), 6, w_bits=w_bits, out=S8, gain=1.0 if narrow else 0.5)
    for quantizer in (U8, S8):
        for w_bits in ((2,), (8, 8, 4, 4, 2, 2)):
            b.conv(b.input((6, 5, 6), quantizer), 6, padding=(1, 1, 1, 1), w_bits=w_bits, groups=6, out=S8, gain=0.7)
    return b.build()


def interleaved(seed: int = 8) -> Network:
    """Widths that change more often than runs may: beside adds, where patches are gathered or not, and codes packed."""
    b = Builder(seed, name="interleaved")
    rng = np.random.default_rng(seed)

    def drawn(channels: int, *share: float) -> list[int]:
        while len(runs_of(bits := rng.choice([8, 4, 2], channels, p=share or None).tolist())) <= MAX_RUNS:
            pass
        return [int(width) for width in bits]

    for quantizer, out in ((U8, S8), (S8, U4), (U4, U8)):
        x = b.input((5, 4, 12), quantizer)
        y = b.conv(x, 18, (1, 1), stride=(2, 2), w_bits=drawn(18, 0.1, 0.8, 0.1), out=out)
        z = b.conv(x, 18, padding=(1, 1, 1, 1), stride=(2, 2), w_bits=drawn(18), out=out, per_channel=False)
        b.linear(b.flatten(b.add(y, z, out)), 10, w_bits=[8, 4, 8, 4, 8, 4, 4, 4, 4, 4], out=S8)
        b.conv(x, 37, (1, 1), w_bits=drawn(37, 0.05, 0.15, 0.8), out=out)
        b.conv(b.input((1, 1, 9), quantizer), 23, (1, 1), w_bits=drawn(23, 0.0, 0.5, 0.5), out=out)
        b.linear(b.input((30,), quantizer), 7, w_bits=(2, 4), out=out)
    return b.build()


NETWORKS = (*edge_cases.NETWORKS, packed, saturated, shifted, interleaved)


def chosen(case: Case) -> Counter[str]:
    """How often each kernel was chosen."""
    return Counter(kernel_names(case))


@pytest.mark.host
def test_twins_equal_the_interpreter(tmp_path: Path) -> None:
    for isa, own in ((PLAIN, "gemm_rv32"), (PULP, "gemm_xpulp")):
        cases = check_networks([make() for make in NETWORKS], tmp_path / own, isa=isa)
        assert sum(chosen(case)[own] for case in cases) > 60
        assert sum(chosen(case)[own.replace("gemm", "depthwise")] for case in cases) > 10


@pytest.mark.host
def test_shifted_sums_keep_the_fast_kernels(tmp_path: Path) -> None:
    network = shifted()
    requants = [op.requant for op in network.ops if isinstance(op, Conv | Linear)]
    assert all(isinstance(requant, Hi32) and requant.shift for requant in requants)
    for isa in (PLAIN, PULP):
        (case,) = check_networks([network], tmp_path / isa[-1], isa=isa)
        assert not any(name.endswith("_plain") for name in chosen(case))


def test_widths_that_change_often_keep_the_fast_kernels() -> None:
    network = interleaved()
    layers = [op for op in network.ops if isinstance(op, Conv | Linear)]
    assert min(len(op.weights.runs()) for op in layers) > MAX_RUNS
    for isa, own in ((PLAIN, "gemm_rv32"), (PULP, "gemm_xpulp")):
        assert chosen(make_case(network, isa=isa))[own] == len(layers)
        for op in layers:
            gemm = gemm_of(Site.of(network, op, frozenset(isa), may_alias=True))
            assert gemm is not None
            assert len(gemm.runs) <= MAX_RUNS
            assert all(run.bits >= max(op.weights.bits[run.first : run.end]) for run in gemm.runs)


def test_widths_that_change_seldom_are_packed_as_they_are() -> None:
    seen = 0
    for network in (make() for make in NETWORKS):
        for op in network.ops:
            gemm = gemm_of(Site.of(network, op, frozenset(PLAIN), may_alias=True))
            if gemm is not None and len(gemm.op.weights.runs()) <= MAX_RUNS:
                assert gemm.runs == pack.runs(gemm.op.weights)
                seen += len(gemm.runs) > 1
    assert seen > 10


@pytest.mark.host
@pytest.mark.parametrize("isa", [PLAIN, PULP])
def test_twins_in_random_networks(isa: tuple[str, ...], tmp_path: Path) -> None:
    check_networks([random_network(seed, ops=12) for seed in range(720, 721)], tmp_path, isa=isa)


@pytest.mark.qemu
@pytest.mark.parametrize("make", NETWORKS)
def test_assembly_in_qemu(make: Callable[[], Network], tmp_path: Path) -> None:
    check_on("rv32imc", make_case(make(), isa=targets.load("rv32imc").features), tmp_path)


@pytest.mark.rtl
@pytest.mark.parametrize(
    "make", [edge_cases.convolutions, edge_cases.others, edge_cases.depthwise, packed, shifted, interleaved]
)
def test_assembly_of_the_pulp_extension_on_rtl(make: Callable[[], Network], tmp_path: Path) -> None:
    check_on("cv32e40p-xpulp", make_case(make(), isa=targets.load("cv32e40p-xpulp").features), tmp_path)


@pytest.mark.rtl
def test_assembly_on_the_smallest_core(tmp_path: Path) -> None:
    check_on("picorv32", make_case(packed(), isa=targets.load("picorv32").features), tmp_path)


def test_only_cores_with_the_extension_get_its_instructions() -> None:
    built = [make() for make in NETWORKS]
    for target in targets.names():
        features = frozenset(targets.load(target).features)
        found = {
            registry.choose(site).name
            for site in (Site.of(network, op, features, may_alias=True) for network in built for op in network.ops)
        }
        assert target == "cv32e40p-xpulp" or not any(name.endswith("_xpulp") for name in found)


@given(st.integers(0, 2**32), st.sampled_from([2, 4]), st.booleans(), st.booleans())
def test_no_group_of_taps_leaves_16_bits(seed: int, bits: int, signed: bool, worst: bool) -> None:
    rng = np.random.default_rng(seed)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    rows = rng.integers(low, high + 1, (3, 4 * int(rng.integers(1, 40)))).astype(np.int8)
    if worst:
        rows[0] = low
    least, most = (-128, 127) if signed else (0, 255)
    group = swar.group_taps(rows, least, most)
    assert group % 4 == 0
    for row in rows.astype(np.int64):
        for start in range(0, len(row), group):
            part = row[start : start + group]
            assert (part * np.where(part > 0, most, least)).sum() <= 32767
            assert (part * np.where(part > 0, least, most)).sum() >= -32768
    assert group >= min(rows.shape[1], 16)


@given(st.integers(0, 2**32), st.sampled_from([2, 4]), st.integers(1, 9))
def test_words_of_narrow_weights_can_be_read_back(seed: int, bits: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (channels, 4 * int(rng.integers(1, 6)))).astype(np.int8)
    taps = rows.shape[1]

    def code(word: int, place: int) -> int:
        value = word >> place & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value

    words = swar.pack_words(rows, bits)
    for channel in range(channels):
        for k in range(taps):
            place = ((channel // 4 * taps + k) * 4 + channel % 4) * bits
            assert code(words[place // 32], place % 32) == rows[channel, k]
    words = xpulp.pack_words(rows, bits, 4)
    per_word = 8 // bits
    for channel in range(channels):
        first = channel // 4 * 4
        count = xpulp.words(min(4, channels - first), bits)
        for k in range(taps):
            word = words[first * taps * bits // 32 + k // 4 * count + (channel - first) // per_word]
            assert code(word, k % 4 * 8 + (channel - first) % per_word * bits) == rows[channel, k]


def test_instructions_of_the_extension_are_spelled_by_their_fields() -> None:
    assert xpulp.load_word("t0", "a0") == ".insn i 0x0b,2,t0,a0,4"
    assert xpulp.load_byte("t0", "a0", signed=False) == ".insn i 0x0b,4,t0,a0,1"
    assert xpulp.dot("s0", "t0", "t4", signed=True) == ".insn r 0x7b,1,0x54,s0,t0,t4"
    assert xpulp.dot("s0", "t0", "t4", signed=False) == ".insn r 0x7b,1,0x50,s0,t0,t4"
    assert xpulp.shift_bytes("t5", "t4", 4, left=True) == ".insn r 0x7b,7,0x28,t5,t4,x2"
    assert xpulp.shift_bytes("t5", "t4", 6, left=False) == ".insn r 0x7b,7,0x24,t5,t4,x3"
    assert xpulp.loop("t5", ["nop"] * 3)[3] == ".insn i 0x2b,4,x14,t5,4"


def test_constants_too_large_for_an_instruction_are_loaded() -> None:
    assert assembly.plus("a0", "a0", 2047, "t0") == ["addi a0,a0,2047"]
    assert assembly.plus("a0", "a0", -2048, "t0") == ["addi a0,a0,-2048"]
    assert assembly.plus("a0", "a0", 2048, "t0") == ["li t0,2048", "add a0,a0,t0"]
