# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for the C library, compiled for this machine under other names and compared with Python's bytes."""

from __future__ import annotations

import ctypes
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.targets import toolchains
from plinio_deploy.targets.build import FIRMWARE

pytestmark = pytest.mark.host
NAMES = ("memcpy", "memset", "memmove", "memcmp")
SIZES = st.integers(0, 40)
ROOM = 128


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("memory") / "memory.so"
    command = [toolchains.require("gcc-host").path, "-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    command += ["-fno-builtin", "-fno-tree-loop-distribute-patterns", "-shared", "-fPIC", "-ffreestanding"]
    command += [f"-D{name}=our_{name}" for name in NAMES]
    command += [
        "-isystem",
        str(FIRMWARE / "runtime" / "include"),
        str(FIRMWARE / "runtime" / "memory.c"),
        "-o",
        str(path),
    ]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path))


def pattern() -> bytearray:
    return bytearray((7 * index + 1) & 0xFF for index in range(ROOM))


def call(library: ctypes.CDLL, name: str, *arguments: int) -> int:
    function = library[f"our_{name}"]
    function.restype = ctypes.c_void_p if name != "memcmp" else ctypes.c_int
    function.argtypes = [ctypes.c_size_t] * len(arguments)
    return int(function(*arguments))


@given(to=st.integers(64, 80), start=st.integers(0, 20), size=SIZES)
def test_memcpy(library: ctypes.CDLL, to: int, start: int, size: int) -> None:
    expected = pattern()
    expected[to : to + size] = expected[start : start + size]
    memory = (ctypes.c_uint8 * ROOM).from_buffer(pattern())
    base = ctypes.addressof(memory)
    assert call(library, "memcpy", base + to, base + start, size) == base + to
    assert bytes(memory) == bytes(expected)


@given(to=st.integers(0, 80), start=st.integers(0, 80), size=SIZES)
def test_memmove_of_overlapping_ranges(library: ctypes.CDLL, to: int, start: int, size: int) -> None:
    expected = pattern()
    expected[to : to + size] = bytes(expected[start : start + size])
    memory = (ctypes.c_uint8 * ROOM).from_buffer(pattern())
    base = ctypes.addressof(memory)
    assert call(library, "memmove", base + to, base + start, size) == base + to
    assert bytes(memory) == bytes(expected)


@given(to=st.integers(0, 80), value=st.integers(-300, 300), size=SIZES)
def test_memset(library: ctypes.CDLL, to: int, value: int, size: int) -> None:
    expected = pattern()
    expected[to : to + size] = bytes([value & 0xFF]) * size
    memory = (ctypes.c_uint8 * ROOM).from_buffer(pattern())
    base = ctypes.addressof(memory)
    function = library["our_memset"]
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    assert function(base + to, value, size) == base + to
    assert bytes(memory) == bytes(expected)


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_memcmp(library: ctypes.CDLL, first: bytes, second: bytes) -> None:
    size = min(len(first), len(second))
    one, two = (ctypes.create_string_buffer(data, 16) for data in (first, second))
    result = call(library, "memcmp", ctypes.addressof(one), ctypes.addressof(two), size)
    expected = (first[:size] > second[:size]) - (first[:size] < second[:size])
    assert (result > 0) - (result < 0) == expected
