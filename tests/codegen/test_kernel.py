# SPDX-License-Identifier: Apache-2.0
"""When two tensors have the same bytes, and what a kernel offers by default."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.kernel import Site, elements_cost, same_bytes, same_layout
from plinio_deploy.codegen.ops.max_pool import MaxPoolPlain
from plinio_deploy.network import Tensor
from plinio_deploy.packing import pack
from tests.networks import Builder

SHAPES = st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2]), st.sampled_from([1, 2, 3, 4, 6, 12]))
BITS = st.sampled_from([2, 4, 8])


def tensor(shape: tuple[int, ...], bits: int) -> Tensor:
    return Tensor("t", shape, bits, False, 1.0, 0)


@given(SHAPES, SHAPES, BITS)
def test_same_bytes_is_what_packing_says(one: tuple[int, ...], other: tuple[int, ...], bits: int) -> None:
    first, second = tensor(one, bits), tensor(other, bits)
    if first.elements != second.elements:
        assert not same_bytes(first, second)
        return
    codes = np.full((1, first.elements), first.qmax)
    equal = pack(first, codes.reshape(1, *one)) == pack(second, codes.reshape(1, *other))
    assert same_bytes(first, second) == equal


@given(SHAPES, SHAPES, BITS, BITS)
def test_same_layout_asks_for_shape_and_width(one: tuple[int, ...], other: tuple[int, ...], a: int, b: int) -> None:
    assert same_layout(tensor(one, a), tensor(other, b)) == (one == other and a == b)
    assert not same_bytes(tensor(one, 2), tensor(one, 4))


def test_a_kernel_asks_for_nothing_by_default() -> None:
    b = Builder(0)
    b.max_pool(b.input((4, 4, 3)), (2, 2))
    network = b.build()
    site = Site.of(network, network.ops[0], frozenset(), may_alias=True)
    kernel = MaxPoolPlain()
    assert (kernel.scratch_bytes(site), kernel.in_place(site), kernel.arrays(site)) == (0, (), ())
    assert elements_cost(site, 2.0) == 2.0 * 27
    assert (site.inputs[0].name, site.output.name, site.macs) == ("t0", "t1", 0)
