# SPDX-License-Identifier: Apache-2.0
"""The grammar's own arithmetic: ranges, bytes, runs, MACs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from plinio_deploy.network import OP_TYPES, Conv, Hi32, Network, Tensor, Weights, op_inputs
from tests.plinio_deploy.toy import toy


@pytest.mark.parametrize(
    ("bits", "signed", "codes"),
    [(2, False, (0, 3)), (4, False, (0, 15)), (8, False, (0, 255)), (2, True, (-2, 1)), (8, True, (-128, 127))],
)
def test_the_range_follows_from_width_and_sign(bits: int, signed: bool, codes: tuple[int, int]) -> None:
    tensor = Tensor("t", (1,), bits, signed, 1.0, 0)
    assert (tensor.qmin, tensor.qmax) == codes


def test_each_pixel_of_sub_byte_codes_takes_whole_bytes() -> None:
    tensor = Tensor("t", (3, 2, 5), 4, False, 1.0, 0)
    assert tensor.elements == 30
    assert tensor.row_bytes == 3
    assert tensor.nbytes == 18


def test_the_name_and_shape_are_no_part_of_the_quantizer() -> None:
    tensor = Tensor("t", (3,), 8, True, 0.5, 1)
    assert tensor.same_quantizer(dataclasses.replace(tensor, name="u", shape=(1, 1, 3)))
    for change in ({"bits": 4}, {"signed": False}, {"scale": 0.25}, {"zero_point": 0}):
        assert not tensor.same_quantizer(dataclasses.replace(tensor, **change))


def test_runs_join_neighbours_of_one_width() -> None:
    weights = Weights(np.zeros((5, 1), dtype=np.int8), (8, 8, 2, 8, 8))
    assert weights.runs() == ((8, 0, 2), (2, 2, 1), (8, 3, 2))


def test_nominal_macs_include_padding_and_divide_by_groups() -> None:
    one = np.ones(1, dtype=np.int32)
    conv = Conv(
        "c", "x", "y", Weights(np.zeros((6, 3, 3, 2), np.int8), (8,) * 6), np.zeros(6, np.int32), Hi32(one, 0, (0, 1)),
        padding=(1, 1, 1, 1), groups=3,
    )  # fmt: skip
    tensors = {"x": Tensor("x", (4, 5, 6), 8, False, 1.0, 0), "y": Tensor("y", (4, 5, 6), 8, False, 1.0, 0)}
    network = Network("n", "hi32", ("x",), ("y",), tensors, (conv,))
    assert network.macs(conv) == 4 * 5 * 6 * 3 * 3 * 2
    assert conv.kernel == (3, 3)
    assert not conv.is_depthwise


def test_ops_without_weights_have_no_macs() -> None:
    network = toy()
    macs = {op.name: network.macs(op) for op in network.ops}
    assert macs["head"] == 24 * 4
    assert macs["stem"] == 4 * 5 * 3 * 3 * 3 * 2
    assert {name for name, count in macs.items() if count} == {"head", "stem"}


def test_consumers_are_found_in_order() -> None:
    assert [op.name for op in toy().consumers("features")] == ["peak", "sum", "join"]


def test_every_kind_of_op_is_in_the_toy_and_has_its_own_name() -> None:
    assert {type(op) for op in toy().ops} == set(OP_TYPES)
    assert len({kind.kind for kind in OP_TYPES}) == len(OP_TYPES)
    assert all(op_inputs(op) for op in toy().ops)
