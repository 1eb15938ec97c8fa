# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.errors import DoesNotFit
from plinio_deploy.targets import registry
from plinio_deploy.targets.elf import Image, Section
from plinio_deploy.targets.fit import LayerSize, error, overflowed, without_bounds
from tests.firmware.benches import made
from tests.firmware.fake_project import project

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("ld: region `FLASH' overflowed by 12 bytes", True),
        ("ld: bench.elf section `.bss' will not fit in region `RAM'", True),
        ("undefined reference to `nowhere'", False),
    ],
)
def test_the_linkers_words(text: str, full: bool) -> None:
    assert overflowed(text) is full


def test_the_message_has_the_numbers_and_the_largest_layers_first() -> None:
    target = registry.load("cortex-m0plus")
    assert target.memory is not None
    image = Image((Section(".text", 0, 300_000, "code"), Section(".bss", 0, 20_000, "zero")), ())
    layers = [LayerSize(f"layer{index}", 1000 * index, 10, 700 - index) for index in range(9)]
    caught = error(target, target.memory, image, layers, 12_345)
    assert caught.exit_code == 5
    text = str(caught)
    assert f"flash by {300_000 - 262_144} bytes (needs 300000, has 262144)" in text
    assert f"RAM by {20_000 + 2048 - 16_384} bytes" in text
    assert "the arena is 12345" in text
    assert text.index("layer8: 8000 bytes of weights, 10 of code") < text.index("layer4")
    assert "layer3: 3000" not in text
    assert text.index("layer0: 700 bytes of tensors alive") < text.index("layer1: 699")
    assert "layer5: 695" not in text


def test_only_what_is_full_is_named() -> None:
    target = registry.load("cortex-m0plus")
    assert target.memory is not None
    image = Image((Section(".bss", 0, 20_000, "zero"),), ())
    assert "flash" not in error(target, target.memory, image, [], 0).what


def test_a_map_without_bounds_keeps_its_bases() -> None:
    memory = registry.load("rv32imc").memory
    assert memory is not None
    roomy = without_bounds(memory)
    assert (roomy.flash.base, roomy.ram.base, roomy.stack) == (memory.flash.base, memory.ram.base, memory.stack)
    assert min(roomy.flash.size, roomy.ram.size) >= 32 * MIB


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m33", "rv32imc"])
def test_a_firmware_that_is_too_large_by_one_word(name: str, tmp_path: Path) -> None:
    """What just fits is built; 16 bytes of arena more are refused, and by how much is exact."""
    memory = registry.load(name).memory
    assert memory is not None
    used = made(project(), name, tmp_path / "small").image
    free = (memory.ram.size - memory.stack - used.ram_bytes) & ~15
    made(project(arena_bytes=64 + free), name, tmp_path / "full")
    with pytest.raises(DoesNotFit) as caught:
        made(project(arena_bytes=64 + free + 16), name, tmp_path / "more")
    assert f"the arena is {64 + free + 16}" in str(caught.value)
    excess = used.ram_bytes + free + 16 + memory.stack - memory.ram.size
    assert f"RAM by {excess} bytes" in str(caught.value)


@pytest.mark.qemu
def test_flash_and_ram_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit) as caught:
        made(project(arena_bytes=400_000, weights=3_000_000), "cortex-m3", tmp_path)
    text = str(caught.value)
    assert "flash by" in text
    assert "RAM by" in text
    assert "first: 3000000 bytes of weights" in text
