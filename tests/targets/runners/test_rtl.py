# SPDX-License-Identifier: Apache-2.0
"""Firmware on RTL: the same ELF file as in QEMU, the same instructions, and cycles that can be reckoned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.errors import DeviceError, ToolMissing, UsageError
from plinio_deploy.targets import registry
from plinio_deploy.targets.build import BuildResult
from plinio_deploy.targets.rtl import simulator
from plinio_deploy.targets.runners import for_target
from plinio_deploy.targets.runners.base import RunRequest, RunResult
from plinio_deploy.targets.runners.rtl import RtlRunner
from plinio_deploy.targets.schema import Target
from tests.firmware.benches import counting, made, ran, samples
from tests.firmware.fake_project import FakeProject, project, reference

CORES = ("cv32e40p", "ibex", "picorv32")


def with_waits(name: str, *, fetch: int = 0, data: int = 0) -> Target:
    """A target of ours with another memory."""
    target = registry.load(name)
    assert target.rtl is not None
    return target.model_copy(update={"rtl": target.rtl.model_copy(update={"fetch_wait": fetch, "data_wait": data})})


def counted(target: Target, fake: FakeProject, built: BuildResult, count: int = 1) -> RunResult:
    """An inference with counts."""
    inputs = samples(count)
    return RtlRunner(target).run(built.elf, RunRequest("outputs", b"".join(inputs), count, counting(fake, built)))


def first_layer(target: Target, statement: str, folder: Path) -> tuple[int, int]:
    """Cycles and instructions of the fake project's first layer with a statement at its end."""
    fake = project(first=statement)
    result = counted(target, fake, made(fake, "rv32imc", folder))
    assert result.cycles is not None
    assert result.instructions is not None
    return result.cycles.by_symbol["net_l00_first"], result.instructions.by_symbol["net_l00_first"]


@pytest.mark.rtl
@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
def test_one_elf_executes_the_same_instructions_in_qemu_and_on_rtl(core: str, tmp_path: Path) -> None:
    fake = project()
    built = made(fake, "rv32imc", tmp_path)
    inputs = samples(3)
    emulated = ran(built, "rv32imc", inputs, count=counting(fake, built))
    simulated = ran(built, core, inputs, count=counting(fake, built))
    assert simulated.outputs == emulated.outputs == b"".join(reference(sample)[2] for sample in inputs)
    assert simulated.instructions == emulated.instructions
    assert simulated.stack_peak_bytes == emulated.stack_peak_bytes
    assert simulated.cycles is not None
    assert simulated.instructions is not None
    assert simulated.cycles.total == sum(simulated.cycles.by_symbol.values())
    assert simulated.cycles.total > simulated.instructions.total
    assert simulated.cycles.source == "rtl"
    assert simulated.simulation is not None
    assert simulated.simulation.cycles > 3 * simulated.cycles.total
    assert simulated.simulation.cycles_per_second > 10_000


@pytest.mark.rtl
@pytest.mark.parametrize("core", CORES)
def test_a_target_of_a_core_builds_the_same_elf_as_the_emulated_one(core: str, tmp_path: Path) -> None:
    one, other = (made(project(), name, tmp_path / name) for name in ("rv32imc", core))
    assert one.elf.read_bytes() == other.elf.read_bytes()


@pytest.mark.rtl
def test_every_tensor_of_every_sample(tmp_path: Path) -> None:
    inputs = samples(5)
    result = ran(made(project(), "ibex", tmp_path), "ibex", inputs, mode="trace")
    assert result.outputs == b"".join(b"".join(reference(sample)) for sample in inputs)
    assert (result.instructions, result.cycles) == (None, None)


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("core", "fetch", "expected"), [("cv32e40p", 0, 1), ("cv32e40p", 1, 2), ("ibex", 0, 1), ("ibex", 3, 4)]
)
def test_straight_code_takes_a_cycle_per_instruction_and_wait_state(
    core: str, fetch: int, expected: int, tmp_path: Path
) -> None:
    code = '__asm__ volatile(".option push\\n.option norvc\\n.rept {}\\nnop\\n.endr\\n.option pop");'
    target = with_waits(core, fetch=fetch)
    cycles, instructions = first_layer(target, code.format(100), tmp_path / "short")
    more_cycles, more_instructions = first_layer(target, code.format(600), tmp_path / "long")
    assert more_instructions - instructions == 500
    assert more_cycles - cycles == 500 * expected


@pytest.mark.rtl
@pytest.mark.parametrize("data", [0, 2])
def test_loads_wait_for_the_memory(data: int, tmp_path: Path) -> None:
    code = '__asm__ volatile(".option push\\n.option norvc\\n.rept {}\\nlw t0, 0(sp)\\n.endr\\n.option pop" ::: "t0");'
    target = with_waits("cv32e40p", data=data)
    cycles, _ = first_layer(target, code.format(100), tmp_path / "short")
    more, _ = first_layer(target, code.format(600), tmp_path / "long")
    assert more - cycles == 500 * (1 + data)


@pytest.mark.rtl
@pytest.mark.parametrize("core", CORES)
def test_wait_states_change_cycles_and_nothing_else(core: str, tmp_path: Path) -> None:
    fake = project()
    built = made(fake, core, tmp_path)
    quick = counted(with_waits(core), fake, built)
    slow_fetch = counted(with_waits(core, fetch=1), fake, built)
    slow_data = counted(with_waits(core, data=1), fake, built)
    assert quick.outputs == slow_fetch.outputs == slow_data.outputs
    assert quick.instructions == slow_fetch.instructions == slow_data.instructions
    assert quick.cycles is not None
    assert slow_fetch.cycles is not None
    assert slow_data.cycles is not None
    assert quick.cycles.total < slow_data.cycles.total < slow_fetch.cycles.total
    assert "0 wait states on instructions, 1 on data" in slow_data.cycles.conditions


@pytest.mark.rtl
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ('__asm__ volatile(".word 0xffffffff");', "illegal instruction in net_l00_first+0x"),
        ("*(volatile uint32_t *)0x40000000u = 1u;", "store access fault in net_l00_first+0x"),
        ("out[0] = *(volatile uint8_t *)0xc0000001u;", "load access fault in net_l00_first+0x"),
        ("*(volatile uint8_t *)0x80000000u = 1u;", "store access fault in net_l00_first+0x"),
    ],
)
def test_what_goes_wrong_is_named_with_its_place(core: str, statement: str, words: str, tmp_path: Path) -> None:
    built = made(project(first=statement), core, tmp_path)
    with pytest.raises(DeviceError) as caught:
        ran(built, core, samples(1))
    assert words in caught.value.what
    assert "sp=0x801" in str(caught.value.got)


DOT_PRODUCT = (
    "uint32_t sum = 5; "
    '__asm__ volatile(".insn r 0x7b, 1, 0x54, %0, %1, %2" : "+r"(sum) : "r"(0x01ff0203u), "r"(0x0405fe07u)); '
    "out[0] = (uint8_t)sum;"
)
"""cv.sdotsp.b: 5 + 1 * 4 - 1 * 5 - 2 * 2 + 3 * 7 = 21."""

HARDWARE_LOOP = (
    '__asm__ volatile(".balign 4\\n.option push\\n.option norvc\\n.insn i 0x2b, 4, x12, x5, {count}\\n'
    'nop\\nnop\\nnop\\nnop\\n.option pop");'
)
"""cv.setupi: the four instructions behind it run `count` times."""


@pytest.mark.rtl
def test_the_pulp_extension_is_there_and_only_where_asked_for(tmp_path: Path) -> None:
    built = made(project(first=DOT_PRODUCT), "cv32e40p-xpulp", tmp_path)
    assert ran(built, "cv32e40p-xpulp", samples(1), mode="trace").outputs[0] == 21
    with pytest.raises(DeviceError, match="illegal instruction in net_l00_first"):
        ran(built, "cv32e40p", samples(1))


@pytest.mark.rtl
def test_a_hardware_loop_takes_no_cycle_for_its_end(tmp_path: Path) -> None:
    target = registry.load("cv32e40p-xpulp")
    few, few_instructions = first_layer(target, HARDWARE_LOOP.format(count=10), tmp_path / "few")
    many, many_instructions = first_layer(target, HARDWARE_LOOP.format(count=110), tmp_path / "many")
    assert many_instructions - few_instructions == 400
    assert many - few == 400


@pytest.mark.rtl
@pytest.mark.parametrize("core", CORES)
def test_a_stack_that_overflows_is_called_that(core: str, tmp_path: Path) -> None:
    endless = "#include <stdint.h>\nvoid net_deeper(volatile uint32_t *last);\n"
    endless += "void net_deeper(volatile uint32_t *last)\n{\n    volatile uint32_t here[64];\n"
    endless += (
        "    here[0] = *last;\n    if (*last != 1u) {\n        net_deeper(here);\n    }\n    *last = here[0];\n}\n"
    )
    built = made(project(first="uint32_t zero = 0; net_deeper(&zero);", extra=endless), core, tmp_path)
    with pytest.raises(DeviceError, match="the stack overflowed"):
        ran(built, core, samples(1))


@pytest.mark.rtl
def test_a_hang_is_stopped_and_located(tmp_path: Path) -> None:
    target = registry.load("ibex")
    built = made(project(first="for (;;) {}"), "ibex", tmp_path)
    with pytest.raises(DeviceError) as caught:
        RtlRunner(target, cycle_limit=50_000).run(built.elf, RunRequest("outputs", samples(1)[0], 1))
    assert "did not end within 50000 cycles and was stopped in net_l00_first+0x" in caught.value.what


@pytest.mark.rtl
def test_as_many_samples_as_the_budget_of_cycles_allows(tmp_path: Path) -> None:
    built = made(project(), "ibex", tmp_path)
    inputs = samples(12)
    request = RunRequest("outputs", b"".join(inputs), len(inputs), counting(project(), built))
    expected = b"".join(reference(sample)[2] for sample in inputs)
    target = registry.load("ibex")
    one = RtlRunner(target, cycle_budget=1).run(built.elf, request)
    assert one.samples == 1
    assert one.simulation is not None
    some = RtlRunner(target, cycle_budget=5 * one.simulation.cycles).run(built.elf, request)
    assert some.samples == 5
    every = RtlRunner(target).run(built.elf, request)
    assert every.samples == 12
    for result in (one, some, every):
        assert result.outputs == expected[: 4 * result.samples]
        assert result.cycles == one.cycles


@pytest.mark.rtl
def test_samples_are_spread_over_simulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plinio_deploy.targets.runners.rtl.WORTH_SPLITTING", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    built = made(project(), "ibex", tmp_path)
    inputs = samples(8)
    result = ran(built, "ibex", inputs)
    assert result.outputs == b"".join(reference(sample)[2] for sample in inputs)


@pytest.mark.rtl
def test_responses_that_do_not_fit_the_window_together(tmp_path: Path) -> None:
    text = (registry.BOARDS / "ibex.toml").read_text().replace("size = 0x100_0000", "size = 512")
    path = tmp_path / "narrow.toml"
    path.write_text(text.replace('"ibex"', '"narrow"', 1))
    inputs = samples(14)
    result = ran(made(project(), str(path), tmp_path / "out"), str(path), inputs, mode="trace")
    assert result.outputs == b"".join(b"".join(reference(sample)) for sample in inputs)


def test_a_missing_simulator_is_named_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(simulator.VARIABLE, "/nowhere")
    with pytest.raises(ToolMissing, match=simulator.VARIABLE):
        for_target(registry.load("cv32e40p"))


@pytest.mark.rtl
def test_a_missing_core_is_named_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(simulator, "require", lambda: None)
    with pytest.raises(ToolMissing, match="the RTL of CV32E40P is not installed"):
        for_target(registry.load("cv32e40p"))


def test_a_target_without_a_core_is_refused() -> None:
    with pytest.raises(UsageError, match="rv32imc names no RTL core"):
        RtlRunner(registry.load("rv32imc"))
