# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.errors import DeviceError
from plinio_deploy.targets.elf import Image
from plinio_deploy.targets.runners import wire
from plinio_deploy.targets.runners.base import RunRequest

REQUEST = RunRequest("outputs", b"abcdef", 2)


def response(samples: int, body: bytes, *, status: int = 0, mode: int = 0, end: bytes = b"PDEN") -> bytes:
    size = len(body) // samples
    head = struct.pack("<4s3I", b"PDRS", mode, samples, size)
    return head + body + struct.pack("<4s3I", end, status, 88, 0)


def test_a_request_says_mode_samples_and_size() -> None:
    assert wire.encode(REQUEST) == b"PDRQ" + struct.pack("<3I", 0, 2, 3) + b"abcdef"
    assert wire.encode(RunRequest("trace", b"abc", 1))[4:8] == b"\1\0\0\0"


def test_a_response_is_taken_apart() -> None:
    answer = wire.decode(response(2, b"uvwxyz") + b"left over", REQUEST, console="")
    assert (answer.outputs, answer.sample_bytes, answer.stack_peak_bytes) == (b"uvwxyz", 3, 88)


@given(st.integers(0, 37))
def test_a_response_that_is_cut_short_is_never_accepted(length: int) -> None:
    whole = response(2, b"uvwxyz")
    assert len(whole) == 38
    with pytest.raises(DeviceError):
        wire.decode(whole[:length], REQUEST, console="")


@given(st.binary(max_size=80))
def test_noise_is_never_accepted(data: bytes) -> None:
    with pytest.raises(DeviceError):
        wire.decode(data, REQUEST, console="")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (response(2, b"uvwxyz", status=1), "beyond its arena"),
        (response(2, b"uvwxyz", status=2), "beyond its outputs"),
        (response(2, b"uvwxyz", status=4), "the stack ran into the variables"),
        (response(2, b"uvwxyz", status=9), "beyond its arena; the network changed its input"),
        (response(2, b"uvwxyz", end=b"xxxx"), "no proper end"),
        (response(3, b"uvwxyz"), "does not answer the request"),
        (response(2, b"uvwxyz", mode=1), "does not answer the request"),
        (b"", "gave no response"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, message: str) -> None:
    with pytest.raises(DeviceError, match=message) as caught:
        wire.decode(data, REQUEST, console="\n".join(f"line {index}" for index in range(20)))
    assert "line 19" in caught.value.what
    assert "line 11" not in caught.value.what


@pytest.mark.parametrize(
    ("code", "message"),
    [(10, "did not understand the request"), (12, "could not reach"), (1, "ended with an error"), (-11, "SIGSEGV")],
)
def test_exit_statuses(code: int, message: str) -> None:
    assert message in wire.exit_failure(code, "", Image((), ())).what
