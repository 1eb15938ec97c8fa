# SPDX-License-Identifier: Apache-2.0
"""The memory window: a harness leaves the request there and takes the response; see firmware/ports/riscv/port.c."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from plinio_deploy.errors import UsageError

_HEADER = struct.Struct("<4s4I3I")


def fill(memory: Path, memory_bytes: int, offset: int, window_bytes: int, request: bytes) -> None:
    """Make a file that becomes memory of the target: empty but for the window's header and the request.

    Args:
        memory: the file.
        memory_bytes: its size.
        offset: of the window in it.
        window_bytes: size of the window.
        request: encoded, see `wire.encode`.

    Raises:
        UsageError: the request alone fills the window.
    """
    response_at = (_HEADER.size + len(request) + 15) & ~15
    if response_at >= window_bytes:
        raise UsageError(
            "the inputs do not fit the target's memory window",
            got=f"{len(request)} bytes",
            expected=f"less than {window_bytes - _HEADER.size} bytes",
            hints=("run fewer samples at once", "enlarge memory.window in the target's file"),
        )
    header = _HEADER.pack(b"PDWN", len(request), response_at, window_bytes - response_at, 0, 0, 0, 0)
    with memory.open("wb") as stream:
        stream.truncate(memory_bytes)
        stream.seek(offset)
        stream.write(header + request)


def read(memory: Path, offset: int) -> bytes:
    """The response that the firmware left in the window at an offset of the file."""
    with memory.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _, _, response_at, capacity, used, *_ = _HEADER.unpack_from(content, offset)
        start = offset + response_at
        return content[start : start + min(used, capacity)]
