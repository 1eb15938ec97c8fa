# SPDX-License-Identifier: Apache-2.0
"""The bench on every port: outputs, traces, stack, counts, faults, hangs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.build import BuildResult
from tests.firmware.benches import EMULATED, counting, made, ran, samples
from tests.firmware.fake_project import DEEP_BYTES, STEP_BYTES, project, reference

ALL = [
    pytest.param("host", marks=pytest.mark.host),
    *(pytest.param(name, marks=pytest.mark.qemu) for name in EMULATED),
]
ARM = [name for name in EMULATED if name.startswith("cortex")]
Built = Callable[[str], BuildResult]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The fake project's firmware for a target, built once."""
    done: dict[str, BuildResult] = {}

    def get(target: str) -> BuildResult:
        if target not in done:
            done[target] = made(project(), target, tmp_path_factory.mktemp(target))
        return done[target]

    return get


@pytest.mark.parametrize("target", ALL)
def test_outputs_and_traces_are_those_of_the_reference(target: str, built: Built) -> None:
    inputs = samples(9)
    outputs = ran(built(target), target, inputs)
    assert outputs.sample_bytes == STEP_BYTES[-1]
    assert outputs.outputs == b"".join(reference(sample)[-1] for sample in inputs)
    trace = ran(built(target), target, inputs, mode="trace")
    assert trace.sample_bytes == sum(STEP_BYTES)
    assert trace.outputs == b"".join(b"".join(reference(sample)) for sample in inputs)


@pytest.mark.parametrize("target", ALL)
def test_the_stack_peak_is_that_of_the_deepest_layer(target: str, built: Built) -> None:
    peak = ran(built(target), target, samples(2)).stack_peak_bytes
    assert DEEP_BYTES <= peak <= DEEP_BYTES + 200


@pytest.mark.qemu
@pytest.mark.parametrize("target", EMULATED)
def test_counts_are_repeatable_and_add_up(target: str, built: Built) -> None:
    firmware = built(target)
    counts = [
        ran(firmware, target, samples(number), count=counting(project(), firmware)).instructions for number in (1, 3)
    ]
    assert counts[0] is not None
    assert counts[0] == counts[1], "only the first inference counts"
    assert counts[0].total == sum(counts[0].by_symbol.values())
    assert all(counts[0].by_symbol.values())
    # The loop of the deepest layer runs 2 * 1200 times and divides 64 bits once.
    assert counts[0].by_symbol["net_l01_deep"] > 0.9 * counts[0].total


@pytest.mark.host
def test_the_host_counts_nothing(built: Built) -> None:
    assert ran(built("host"), "host", samples(1), count=None).instructions is None


@pytest.mark.parametrize("target", ALL)
def test_a_fault_is_named(target: str, tmp_path: Path) -> None:
    firmware = made(project(first="__builtin_trap();"), target, tmp_path)
    with pytest.raises(DeviceError) as caught:
        ran(firmware, target, samples(1))
    message = str(caught.value)
    if target == "host":
        assert "SIGILL" in message
    else:
        assert "the processor took a fault" in message
        assert "in net_l00_first+" in message
        assert "pc=0x" in message


@pytest.mark.parametrize("target", [param for param in ALL if param.values[0] in {"host", "cortex-m4", "rv32imc"}])
def test_a_hang_ends(target: str, tmp_path: Path) -> None:
    firmware = made(project(first="for (;;) {}"), target, tmp_path)
    with pytest.raises(DeviceError, match="did not end within 2 s"):
        ran(firmware, target, samples(1), timeout_s=2)


@pytest.mark.parametrize("target", ALL)
def test_a_write_beyond_the_arena_is_noticed(target: str, tmp_path: Path) -> None:
    firmware = made(project(arena_bytes=64, first="out[64 + 3] = 1;"), target, tmp_path)
    with pytest.raises(DeviceError, match="wrote beyond its arena"):
        ran(firmware, target, samples(1))


@pytest.mark.host
def test_a_changed_input_is_noticed(tmp_path: Path) -> None:
    firmware = made(project(first="((uint8_t *)(uintptr_t)in)[1] ^= 1;"), "host", tmp_path)
    with pytest.raises(DeviceError, match="changed its input"):
        ran(firmware, "host", samples(1))


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m33", "cortex-m55"])
def test_a_stack_overflow_is_named(target: str, tmp_path: Path) -> None:
    """On boards where nothing lies below RAM; the others ignore writes there, and end in another fault or in time."""
    text = """
    #include <stdint.h>
    uint32_t deeper(uint32_t depth);
    uint32_t deeper(uint32_t depth)
    {
        volatile uint8_t frame[256];
        frame[depth & 255u] = 1;
        return depth == 0u ? 0u : deeper(depth - 1u) + frame[3];
    }
    """
    firmware = made(project(extra=text, first="out[0] = (uint8_t)deeper(in[0] + 1000u);"), target, tmp_path)
    with pytest.raises(DeviceError, match="the stack overflowed"):
        ran(firmware, target, samples(1))


@pytest.mark.qemu
def test_helium_is_switched_on(tmp_path: Path) -> None:
    code = 'uint32_t lane; __asm__("vmov.i8 q0, #5\\n\\tvmov.32 %0, q0[1]" : "=r"(lane)::"q0"); out[0] = (uint8_t)lane;'
    firmware = made(project(first=code.replace("__asm__(", "__asm__ volatile(")), "cortex-m55", tmp_path)
    trace = ran(firmware, "cortex-m55", samples(1), mode="trace")
    assert trace.outputs[0] == 5
