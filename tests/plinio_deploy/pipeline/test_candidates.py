# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from plinio_deploy.codegen.requested import Requested
from plinio_deploy.pipeline import tuning
from plinio_deploy.pipeline.candidates import candidates
from plinio_deploy.targets import registry
from tests.plinio_deploy.pipeline.tuned_network import network

M4 = registry.load("cortex-m4")


def test_candidates_begin_with_the_default_and_dear_ones_are_left_out_where_memory_is_free() -> None:
    every = candidates(network(), M4)
    assert all(names[0].endswith("_dsp") for names in every.values())
    assert all(any(name.endswith("_plain") for name in names) for names in every.values())
    near = candidates(network(), M4, factor=tuning.FACTOR)
    assert all(near[layer][0] == names[0] for layer, names in every.items())
    assert sum(map(len, near.values())) < sum(map(len, every.values()))
    assert any("winograd" in name for names in every.values() for name in names)
    assert not any("winograd" in name for names in near.values() for name in names)


def test_candidates_on_request_are_those_that_were_asked_for_or_not_ruled_out() -> None:
    def taken(asked: Requested, factor: float | None) -> set[str]:
        every = candidates(network(), M4, factor=factor, asked=asked).values()
        return {name for names in every for name in names if "_wide" in name or "winograd" in name}

    assert taken(Requested(), tuning.FACTOR) == taken(Requested("none", wide=False), None) == set()
    assert all("wide" in name for name in taken(Requested(wide=True), tuning.FACTOR))
    assert all("scratch" in name for name in taken(Requested("scratch", wide=False), None))
    assert taken(Requested(), None) == taken(Requested("flash", wide=True), None) > taken(Requested("flash"), 1.0)
