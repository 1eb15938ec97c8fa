# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.targets.build import BuildResult, network_symbols
from plinio_deploy.targets.elf import Image, Section, Symbol, read, segments
from tests.firmware.benches import made
from tests.firmware.fake_project import project

IMAGE = Image(
    sections=(
        Section(".text", 0x0, 0x100, "code"),
        Section(".rodata", 0x100, 0x40, "constant"),
        Section(".stack", 0x2000_0000, 0x400, "stack"),
        Section(".data", 0x2000_0400, 0x10, "data"),
        Section(".bss", 0x2000_0410, 0x80, "zero"),
    ),
    symbols=(
        Symbol("net_run", 0x0, 0x20, "code"),
        Symbol("net_l00.part.0", 0x20, 0x10, "code", "net_layers.c"),
        Symbol("net_l00", 0x30, 0x20, "code"),
        Symbol("helper", 0x50, 0x8, "code", "net_layers.c"),
        Symbol("bench_main", 0x58, 0x8, "code"),
        Symbol("network", 0x60, 0x8, "code"),
    ),
)


def test_sizes() -> None:
    assert IMAGE.flash_bytes == 0x100 + 0x40 + 0x10
    assert IMAGE.ram_bytes == 0x10 + 0x80
    assert IMAGE.bytes_of("stack") == 0x400


def test_a_function_and_its_clones_are_one() -> None:
    assert [symbol.name for symbol in IMAGE.named("net_l00")] == ["net_l00", "net_l00.part.0"]
    assert IMAGE.named("net_l0") == ()


def test_symbols_of_sources_are_told_by_file_or_prefix() -> None:
    names = {symbol.name for symbol in IMAGE.of_sources("net", ["net_layers.c"], without=["net_run"])}
    assert names == {"net_l00", "net_l00.part.0", "helper"}


@pytest.mark.parametrize(
    ("address", "place"),
    [(0x31, "net_l00+0x0"), (0x4E, "net_l00+0x1e"), (0x5F, "bench_main+0x6"), (0x70, "0x00000070")],
)
def test_an_address_is_located(address: int, place: str) -> None:
    assert IMAGE.locate(address) == place


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return made(project(), "cortex-m4", tmp_path_factory.mktemp("elf"))


@pytest.mark.qemu
def test_a_linked_file_is_read(built: BuildResult) -> None:
    image = read(built.elf)
    (weights,) = image.named("net_l00_first_w")
    assert (weights.size, weights.kind) == (16, "constant")
    (layer,) = image.named("net_l00_first")
    assert layer.kind == "code"
    assert layer.address % 2 == 0, "Thumb's low bit is not part of the address"
    assert image.bytes_of("stack") == 8192
    assert {section.kind for section in image.sections} >= {"code", "zero", "stack"}
    assert image.ram_bytes >= 64 + 16 + 4  # arena, input, output
    names = {symbol.name for symbol in network_symbols(image, project().inputs)}
    assert names == {"net_run", "net_l00_first", "net_l01_deep", "net_l02_sum", "net_l00_first_w"}


@pytest.mark.qemu
def test_the_segments_are_the_flash(built: BuildResult) -> None:
    assert built.binary is not None
    content = built.binary.read_bytes()
    assert len(content) == read(built.elf).flash_bytes
    assert b"".join(data for _, data in segments(built.elf)) == content
