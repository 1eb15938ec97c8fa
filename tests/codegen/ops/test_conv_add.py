# SPDX-License-Identifier: Apache-2.0
"""Convolutions that add: which sites they take, what they cost and need, and which tensor they may overwrite.

What they compute is tested in ``tests/codegen/test_fusion.py``.
"""

from __future__ import annotations

import pytest

from plinio_deploy.codegen.emit import Emitter, Helpers
from plinio_deploy.codegen.fusion import fused
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.ops.conv_add import KERNELS, able, added, producer
from plinio_deploy.codegen.ops.conv_dsp import ConvDsp
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.network import Add, Flavour
from tests.networks import Builder, Quantizer

DSP = frozenset({"dsp"})
U8, S8, U4 = (8, False, 0.05, 0), (8, True, 0.05, -3), (4, False, 0.3, 0)
NAMED: dict[str, Kernel] = {kernel.name: kernel for kernel in KERNELS}
PLAIN = NAMED["conv_dsp_add"]


def site(*, flip: bool = False, other: Quantizer = U8, out: Quantizer = U8, flavour: Flavour = "hi32") -> Site | None:
    """A 3 x 3 convolution whose codes are added to a tensor that nobody else reads."""
    b = Builder(0, flavour)
    x = b.conv(b.input((6, 6, 8), U8), 8, (1, 1), out=U8)
    y = b.conv(x, 8, padding=(1, 1, 1, 1), out=S8)
    z = b.max_pool(b.input((6, 6, 8), other), (1, 1))
    b.add(*((z, y) if flip else (y, z)), out)
    network = b.build()
    adds = {op.name: PLAIN.name for op in network.ops if isinstance(op, Add)}
    return next(iter(fused(network, DSP, Schedule.of(adds)).values()), None)


def taken(*, flip: bool = False, out: Quantizer = U8) -> Site:
    found = site(flip=flip, out=out)
    assert found is not None
    return found


def test_bytes_of_our_flavour_are_taken() -> None:
    found = taken()
    assert able(found)
    assert set(NAMED) == {
        "conv_dsp_add",
        "conv_winograd_add",
        *(f"conv_winograd_scratch_add(patches={patches})" for patches in (2, 4, 8)),
    }
    assert all(kernel.absorbs and kernel.handles(found) for kernel in KERNELS)
    assert [kernel.on_request for kernel in KERNELS] == [False, *[True] * 4]


def test_adds_without_their_convolution_are_not_taken() -> None:
    found = taken()
    alone = Site(found.op, found.inputs, found.output, 0, DSP, may_alias=True)
    assert not able(alone)
    assert not any(kernel.handles(alone) for kernel in KERNELS)
    assert not any(kernel.handles(producer(found)) for kernel in KERNELS)


@pytest.mark.parametrize(("other", "out", "flavour"), [(U4, U8, "hi32"), (U8, U4, "hi32"), (U8, U8, "tflite")])
def test_other_widths_and_flavours_are_left_to_others(other: Quantizer, out: Quantizer, flavour: Flavour) -> None:
    assert site(other=other, out=out, flavour=flavour) is None


@pytest.mark.parametrize("flip", [False, True])
def test_codes_keep_their_places_in_the_sum(flip: bool) -> None:
    found = taken(flip=flip, out=S8)
    how = added(found, Emitter("net", "net_l00", Helpers()))
    assert how.names == (("b", "a") if flip else ("a", "b"))
    assert how.ctype == "int8_t"
    assert found.inputs[0].name == producer(found).inputs[0].name


def test_cost_and_memory_are_the_convolutions_and_the_additions() -> None:
    found = taken()
    own = producer(found)
    assert PLAIN.cost(found) - ConvDsp().cost(own) == 9 * 6 * 6 * 8
    # Codes of two pixels, eight channels each, behind the convolution's scratch in whole words.
    assert PLAIN.scratch_bytes(found) == -(-ConvDsp().scratch_bytes(own) // 4) * 4 + 16
    variables = PLAIN.variables(found, Emitter("net", "net_l00", Helpers()))
    assert variables["staged"] == PLAIN.scratch_bytes(found) - 16
    assert variables["output"] is own.output
    assert [array.values for array in PLAIN.arrays(found)] == [array.values for array in ConvDsp().arrays(own)]


def test_only_what_is_added_may_be_overwritten() -> None:
    found = taken()
    assert PLAIN.in_place(found) == (1,)
    read = Site(found.op, found.inputs, found.output, 0, DSP, may_alias=False, producer=found.producer)
    assert PLAIN.in_place(read) == ()
