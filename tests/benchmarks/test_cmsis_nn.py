# SPDX-License-Identifier: Apache-2.0
"""The comparison with CMSIS-NN: its shapes are the reference networks'; the library is not part of this project."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.cmsis_nn import compare
from plinio_deploy.errors import UsageError

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
        compare.build(tmp_path, "cortex-m4", tmp_path)


def test_other_flash() -> None:
    board = compare.board_of("cortex-m4", (5, 16, 64, 16))
    assert board.qemu is not None
    assert (board.qemu.flash_wait, board.qemu.flash_data_lines) == (5, 16)
    assert compare.board_of("cortex-m4", ()).qemu is not None
