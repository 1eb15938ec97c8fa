# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.errors import InvalidTargetFile
from plinio_deploy.targets import registry
from plinio_deploy.targets.schema import Region, parse

GOOD = """
name = "toy"
description = "a board"
isa = "rv32imc"
family = "riscv"
toolchain = "gcc-riscv"
flags = ["-march=rv32imc"]
runner = "qemu"
[memory]
stack = 1024
flash = { base = 0x8000_0000, size = 0x1_0000 }
ram = { base = 0x8010_0000, size = 0x1_0000 }
window = { base = 0x8020_0000, size = 0x1_0000 }
[qemu]
system = "riscv32"
machine = "virt"
ram = 0x400_0000
ram_base = 0x8000_0000
"""


def problems(text: str) -> str:
    with pytest.raises(InvalidTargetFile) as caught:
        parse(text, "folder/toy.toml")
    assert caught.value.where == "folder/toy.toml"
    return str(caught.value)


def test_a_complete_file_is_read() -> None:
    target = parse(GOOD, "folder/toy.toml")
    assert (target.name, target.source, target.flags) == ("toy", "folder/toy.toml", ("-march=rv32imc",))
    assert target.memory is not None
    assert target.memory.flash.end == 0x8001_0000


def test_every_mistake_is_listed_with_its_path() -> None:
    text = GOOD.replace("0x8010_0000, size", "0x8010_0008, sise").replace('"riscv"', '"avr"') + "\n[colours]\n"
    message = problems(text.replace("1024", '"1k"'))
    assert "6 mistakes" in message
    for line in (
        "family: must be one of 'host', 'arm' or 'riscv', not 'avr'",
        "memory.stack: must be a whole number, not '1k'",
        "memory.ram.base: must be a multiple of 16, not 2148532232",
        "memory.ram.size: must be given",
        "memory.ram.sise: unknown key",
        "colours: unknown key",
    ):
        assert line in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0x8010_0000", "0x8000_8000", "memory: flash and ram overlap"),
        ("0x8020_0000", "0x8400_0000", "memory.window must lie within the qemu.ram bytes"),
        ("ram_base = 0x8000_0000", "", "a memory window needs qemu.ram and qemu.ram_base"),
        ("stack = 1024", "stack = 0x1_0000", "must be smaller than ram.size"),
        ("window = {", "window_ = {", "memory.window_: unknown key"),
        ('name = "toy"', 'name = "other"', "name: must be 'toy', as the file is called, not 'other'"),
        ('runner = "qemu"', 'runner = "none"', "runner 'qemu' and the table qemu need each other"),
        ('isa = "rv32imc"', 'source = "x"\nisa = "rv32imc"', "source: unknown key"),
        ("0x8010_0000", "0xffff_fff0", "ends at 0x10000fff0, above 4 GiB"),
        ('flags = ["-march=rv32imc"]', 'flags = ["-a -b"]', "flags.0: must match"),
        ("flash = { base = 0x8000_0000, size = 0x1_0000 }", "", "memory.flash: must be given"),
    ],
)
def test_one_mistake(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert expected in problems(GOOD.replace(old, new))


def test_text_that_is_not_toml() -> None:
    assert "not valid TOML" in problems("name =")


def test_a_host_target_has_no_memory() -> None:
    text = GOOD.replace('"riscv"', '"host"')
    assert "family 'host' has no memory table" in problems(text)


@given(st.integers(0, 4000), st.integers(1, 200), st.integers(0, 4000), st.integers(1, 200))
def test_regions_overlap_when_they_share_an_address(base: int, size: int, other_base: int, other_size: int) -> None:
    one, two = Region(base=16 * base, size=16 * size), Region(base=16 * other_base, size=16 * other_size)
    shared = set(range(base, base + size)) & set(range(other_base, other_base + other_size))
    assert one.overlaps(two) == two.overlaps(one) == bool(shared)


@pytest.mark.parametrize("name", registry.names())
def test_our_own_targets_are_valid(name: str) -> None:
    target = registry.load(name)
    assert target.name == name
    assert len(target.description) <= 120
