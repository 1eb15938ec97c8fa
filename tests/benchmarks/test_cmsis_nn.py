# SPDX-License-Identifier: Apache-2.0
"""The comparison with CMSIS-NN: its shapes are the reference networks'; the library is not part of this project."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.cmsis_nn import compare
from plinio_deploy.errors import UsageError
from plinio_deploy.targets import registry

MACS = {"resnet8": 12_501_632, "ds_cnn": 2_656_768, "mobilenetv1_025": 7_489_664, "autoencoder": 264_192}
"""Of the int8 models of MLPerf Tiny."""


def test_the_networks_are_the_references() -> None:
    found = compare.networks()
    assert {name: sum(layer.macs for layer in layers) for name, layers in found.items()} == MACS


def test_outputs_become_inputs() -> None:
    for layers in compare.networks().values():
        plain = [layer for layer in layers if not (layer.op == "OP_CONV" and layer.kernel_h == 1 and layer.stride == 2)]
        for before, after in pairwise(plain):
            assert before.out_h * before.out_w * before.out_c == after.in_h * after.in_w * after.in_c


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkout of CMSIS-NN"):
        compare.build(tmp_path, registry.load("cortex-m4"), tmp_path)


def test_other_flash() -> None:
    board = compare.board_of("cortex-m4", (5, 16, 64, 16))
    assert board.qemu is not None
    assert (board.qemu.flash_wait, board.qemu.flash_data_lines) == (5, 16)
    assert compare.board_of("cortex-m4", ()).qemu is not None


def test_every_layer_runs_and_those_with_weights_in_4_bits_as_well() -> None:
    layers = compare.networks()
    runs = compare.runs(layers)
    weighted = sum(layer.weights > 0 for network in layers.values() for layer in network)
    assert [sum(s4 == flag for *_, s4 in runs) for flag in (0, 1)] == [sum(map(len, layers.values())), weighted]
    text = compare.header(layers)
    assert "X(resnet8, 3, , 0)" in text
    assert "X(resnet8, 3, _s4, 1)" not in text, "an add"
    assert "X(resnet8, 2, _s4, 1)" in text


def test_figures_are_sums() -> None:
    figures = compare.Figures.of(10, [(20, 30), (5, 7)])
    assert (figures.instructions, figures.cycles) == (25, 37)
    assert (figures.instructions_per_mac, figures.cycles_per_mac) == (2.5, 3.7)
    assert compare.Figures.of(10, [(20, None), (5, 7)]).cycles is None


def test_another_targets_core(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="for Arm cores"):
        compare.build(tmp_path, registry.load("rv32imc"), tmp_path)
