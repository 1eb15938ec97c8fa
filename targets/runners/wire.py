# SPDX-License-Identifier: Apache-2.0
"""The bench's request and response as bytes, and its words of failure; the C side is firmware/bench/bench_main.c."""

from __future__ import annotations

import re
import signal
import struct
from dataclasses import dataclass

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.elf import Image
from plinio_deploy.targets.runners import faults
from plinio_deploy.targets.runners.base import RunRequest

_HEADER = struct.Struct("<4s3I")
_MODES = {"outputs": 0, "trace": 1}
_STATUS = {
    1: "the network wrote beyond its arena",
    2: "the network wrote beyond its outputs",
    4: "the stack ran into the variables",
    8: "the network changed its input",
}
EXIT_NO_ROOM = 11
"""Exit status of a bench whose response does not fit where it is to go."""

_EXITS = {
    10: "the bench did not understand the request",
    EXIT_NO_ROOM: "there was no room for the response",
    12: "the bench could not reach the request or the response",
    20: "the processor took a fault",
}
CONSOLE_LINES = 8
HANG = re.compile(r"PLINIO-HANG pc=(?P<pc>[0-9a-f]{8}) cycles=(?P<cycles>\d+)")
"""The last line of a test bench that gave up (firmware/rtl/testbench.cpp)."""


@dataclass(frozen=True)
class Response:
    """A whole response: the samples' bytes, bytes per sample, and the stack that the first inference took."""

    outputs: bytes
    sample_bytes: int
    stack_peak_bytes: int


def encode(request: RunRequest) -> bytes:
    """The request as the bench reads it."""
    return _HEADER.pack(b"PDRQ", _MODES[request.mode], request.samples, request.input_bytes) + request.inputs


def decode(data: bytes, request: RunRequest, *, console: str) -> Response:
    """Take a response apart.

    Args:
        data: what the bench wrote; may be longer than the response.
        request: what it answers.
        console: what was printed, for messages.

    Raises:
        DeviceError: cut short, not an answer to this request, or the bench reports that the network misbehaved.
    """
    if len(data) < _HEADER.size:
        raise failure("the firmware gave no response", console)
    magic, mode, samples, sample_bytes = _HEADER.unpack_from(data)
    if (magic, mode, samples) != (b"PDRS", _MODES[request.mode], request.samples):
        raise failure("the response does not answer the request", console, got=data[: _HEADER.size].hex(" ", 4))
    body = samples * sample_bytes
    trailer = data[_HEADER.size + body : 2 * _HEADER.size + body]
    if len(trailer) < _HEADER.size:
        raise failure(
            "the response ends early",
            console,
            got=f"{len(data)} bytes",
            expected=f"{2 * _HEADER.size + body} bytes: {samples} samples of {sample_bytes} bytes, header and trailer",
        )
    magic, status, stack_peak, _ = _HEADER.unpack(trailer)
    if magic != b"PDEN":
        raise failure("the response has no proper end", console, got=trailer.hex(" ", 4))
    if status:
        raise failure("; ".join(text for bit, text in _STATUS.items() if status & bit), console)
    return Response(data[_HEADER.size : _HEADER.size + body], sample_bytes, stack_peak)


def failure(
    what: str, console: str, *, got: str | None = None, expected: str | None = None, hints: tuple[str, ...] = ()
) -> DeviceError:
    """A `DeviceError` that ends with the last lines of the console."""
    lines = console.strip().splitlines()[-CONSOLE_LINES:]
    if lines:
        what += "; the console's last lines:\n" + "\n".join(f"    {line}" for line in lines)
    return DeviceError(what, got=got, expected=expected, hints=hints)


def exit_failure(code: int, console: str, image: Image) -> DeviceError:
    """The error for a run that ended with a status other than 0.

    Args:
        code: exit status; negative for a signal.
        console: what was printed.
        image: the firmware, to name the function that faulted.
    """
    hang = HANG.search(console)
    if hang is not None:
        place = image.locate(int(hang["pc"], 16))
        return failure(
            f"the firmware did not end within {hang['cycles']} cycles and was stopped in {place}",
            console[: hang.start()],
            hints=("look for a loop that does not end there; the host target and a debugger show why",),
        )
    match = faults.LINE.search(console)
    if match is not None:
        return faults.error(match, image)
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return failure(f"the run was ended by signal {name}", console, hints=(faults.HINT,))
    return failure(_EXITS.get(code, "the firmware or its emulator ended with an error"), console, got=f"status {code}")
