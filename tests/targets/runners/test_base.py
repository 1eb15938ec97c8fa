# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plinio_deploy.targets.elf import Image, Symbol
from plinio_deploy.targets.runners.base import CountRequest, RunRequest, RunResult, count_request

IMAGE = Image(
    (),
    (
        Symbol("net_run", 0x100, 0x10, "code"),
        Symbol("net_run_packed", 0x110, 0x10, "code"),
        Symbol("net_l00", 0x120, 0x20, "code"),
        Symbol("net_l00.part.0", 0x140, 0x20, "code"),
        Symbol("net_l00_w", 0x160, 0x20, "constant"),
        Symbol("bench_main", 0x180, 0x20, "code"),
    ),
)


def test_a_count_request_covers_clones_and_leaves_out_what_is_not_there() -> None:
    request = count_request(IMAGE, ["net_l00", "net_l00_w", "net_l99"], prefix="net")
    assert request.entry == "net_run"
    assert [(part.name, part.address) for part in request.ranges] == [
        ("net_run", 0x100),
        ("net_l00", 0x120),
        ("net_l00", 0x140),
    ]
    assert {part.name for part in request.harness} == {"bench_main", "net_run_packed"}


def test_a_firmware_without_the_network_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match="other_run"):
        count_request(IMAGE, [], prefix="other")


def test_only_the_first_part_of_a_request_counts() -> None:
    request = RunRequest("trace", bytes(range(12)), 4, CountRequest("net_run", (), ()), 5.0)
    assert request.input_bytes == 3
    first, second = request.part(0, 1), request.part(1, 4)
    assert (first.inputs, first.samples, first.count) == (bytes(range(3)), 1, request.count)
    assert (second.inputs, second.samples, second.count) == (bytes(range(3, 12)), 3, None)
    assert second.mode == "trace"
    assert second.timeout_s == 5.0


def test_results_of_later_samples_are_appended() -> None:
    one, two = RunResult(b"ab", 2, 100, console="x"), RunResult(b"cdef", 2, 90, console="y")
    whole = one.followed_by(two)
    assert (whole.outputs, whole.samples, whole.stack_peak_bytes, whole.console) == (b"abcdef", 3, 100, "xy")
