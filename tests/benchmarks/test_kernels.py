# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the kernels: what another library takes stands beside each row."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.cmsis_nn import compare
from benchmarks.kernels import NETWORKS, Row, beside, schedule_of
from plinio_deploy.targets import registry
from tests.networks import Builder

ROW = Row("resnet8", 8, 8, False, 10, 9, None, 0.9, None, None, 0, 0, 0, 0, 0, True, True, None, [])


def test_another_library_beside_a_row() -> None:
    other = compare.Figures(10, 20, None, 2.0, None, None)
    found = asdict(beside(ROW, other))
    assert (found["cmsis_nn_instructions_per_mac"], found["cmsis_nn_cycles_per_mac"]) == (2.0, None)
    assert found["instructions_per_mac"] == ROW.instructions_per_mac
    assert beside(ROW, None) is ROW


def test_every_network_is_compared() -> None:
    assert {name.replace("-", "_") for name in NETWORKS} == set(compare.networks())


def test_options_of_schedules_go_together() -> None:
    b = Builder(0)
    x = b.conv(b.input((8, 8, 16), (8, False, 0.05, 0)), 16, padding=(1, 1, 1, 1))
    y = b.conv(x, 16, padding=(1, 1, 1, 1))
    network, target = b.build(b.add(x, y)), registry.load("cortex-m4")
    along = schedule_of(network, target, None, adds_along=True)
    wide = schedule_of(network, target, None, adds_along=False, wider=True)
    both = schedule_of(network, target, None, adds_along=True, wider=True)
    assert [entry.name for entry in along.layers.values()] == ["conv_dsp_add"]
    assert [entry.name for entry in wide.layers.values()] == ["conv_wide_dsp"] * 2
    assert sorted(entry.name for entry in both.layers.values()) == ["conv_dsp_add", "conv_wide_dsp"]
