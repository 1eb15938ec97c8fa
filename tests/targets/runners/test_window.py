# SPDX-License-Identifier: Apache-2.0
"""The memory window as the RISC-V port sees it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from plinio_deploy.errors import UsageError
from plinio_deploy.targets.runners import window


@pytest.mark.parametrize("offset", [0, 4096])
def test_request_and_response(offset: int, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    window.fill(memory, 8192, offset, 4096, b"request")
    content = bytearray(memory.read_bytes())
    assert len(content) == 8192
    magic, request_bytes, response_at, capacity, used = struct.unpack_from("<4s4I", content, offset)
    assert (magic, request_bytes, used) == (b"PDWN", 7, 0)
    assert content[offset + 32 : offset + 39] == b"request"
    assert response_at % 16 == 0
    assert response_at + capacity == 4096
    struct.pack_into("<I", content, offset + 16, 8)
    content[offset + response_at : offset + response_at + 8] = b"response"
    memory.write_bytes(content)
    assert window.read(memory, offset) == b"response"


def test_a_firmware_that_claims_too_much_gets_no_more_than_the_window(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    window.fill(memory, 128, 0, 128, b"r")
    content = bytearray(memory.read_bytes())
    struct.pack_into("<I", content, 16, 1 << 30)
    memory.write_bytes(content)
    assert len(window.read(memory, 0)) == 80


def test_a_request_that_fills_the_window(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        window.fill(tmp_path / "memory", 4096, 0, 64, bytes(32))
