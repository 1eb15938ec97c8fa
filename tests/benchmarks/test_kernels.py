# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the kernels: what another library takes stands beside each row."""

from __future__ import annotations

from dataclasses import asdict, replace

from benchmarks.cmsis_nn import compare
from benchmarks.kernels import NETWORKS, Row, beside, schedule_of
from plinio_deploy.network import Network
from plinio_deploy.targets import registry
from tests.networks import Builder

ROW = Row("resnet8", 8, 8, False, 10, 9, None, 0.9, None, None, 0, 0, 0, 0, 0, True, True, None, [])


def block() -> Network:
    """The first block of ResNet8 with a stem of as many channels, and a linear layer that ResNet8 has not."""
    b = Builder(0, name="resnet8")
    x = b.conv(b.input((32, 32, 16), (8, False, 0.05, 0)), 16, padding=(1, 1, 1, 1))
    x = b.add(x, b.conv(x, 16, padding=(1, 1, 1, 1)))
    return b.build(b.linear(b.flatten(b.avg_pool(x, (32, 32))), 5))


def library() -> compare.Comparison:
    """Figures that tell where they come from: layer i of ResNet8 takes 100 + i instructions, 200 + i at 4 bits."""
    count = len(compare.networks()["resnet8"])
    every = [compare.Figures.of(10, [(first + index, None) for index in range(count)]) for first in (100, 200)]
    return compare.Comparison({"resnet8": every[0]}, {"resnet8": every[1]}, "a board", None)


def test_another_library_beside_a_row() -> None:
    network = block()
    found = asdict(beside(ROW, network, library()))
    assert (found["cmsis_nn_instructions_per_mac"], found["cmsis_nn_cycles_per_mac"]) == (149.1, None)
    assert (found["cmsis_nn_s4_instructions_per_mac"], found["cmsis_nn_machine"]) == (None, "a board")
    assert found["instructions_per_mac"] == ROW.instructions_per_mac
    narrow = beside(replace(ROW, w_bits=2), network, library())
    assert (narrow.cmsis_nn_instructions_per_mac, narrow.cmsis_nn_s4_instructions_per_mac) == (149.1, 289.1)
    assert beside(ROW, network, None) is ROW


def test_another_library_beside_each_layer() -> None:
    network = block()
    names = [op.name for op in network.ops]
    stem, conv, add, _, _, linear = names
    wide = beside(replace(ROW, layers=[{"name": name} for name in names]), network, library()).layers
    assert [row["cmsis_nn_instructions"] for row in wide] == [101, 102, 103, None, None, None]
    assert [row["cmsis_nn_kernel"] for row in wide] == ["s8", "s8", "s8", None, None, None]
    along = replace(ROW, w_bits=4, layers=[{"name": name} for name in (stem, add, linear)])
    rows = beside(along, network, library()).layers
    assert [row["cmsis_nn_instructions"] for row in rows] == [201, 202 + 203, None], f"{conv} is executed by {add}"
    assert [row["cmsis_nn_kernel"] for row in rows] == ["s4", "s4+s8", None]


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
