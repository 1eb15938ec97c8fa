# SPDX-License-Identifier: Apache-2.0
"""Winograd's method: which convolutions it takes, what it stages, and what it trades.

What it computes is tested in ``tests/codegen/test_winograd.py``.
"""

from __future__ import annotations

import pytest

from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.ops.conv_winograd import KERNELS, MOST_CHANNELS, MOST_FILTERED, PATCHES
from plinio_deploy.network import Padding
from tests.networks import Builder

DSP = frozenset({"dsp"})
SAME = (1, 1, 1, 1)
NAMED: dict[str, Kernel] = {kernel.name: kernel for kernel in KERNELS}
FLASH, *SCRATCH = NAMED


def site(
    shape: tuple[int, int, int] = (8, 8, 8),
    channels: int = 8,
    kernel: tuple[int, int] = (3, 3),
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: Padding = SAME,
    groups: int = 1,
    isa: frozenset[str] = DSP,
    bits: tuple[int, int] = (8, 8),
) -> Site:
    """A convolution; ``bits`` are those of its input and of its output."""
    b = Builder(0)
    quantizers = [(8, False, 0.05, 0) if width == 8 else (width, False, 0.3, 0) for width in bits]
    x = b.input(shape, quantizers[0])
    b.conv(x, channels, kernel, stride=stride, dilation=dilation, padding=padding, groups=groups, out=quantizers[1])
    network = b.build()
    return Site.of(network, network.ops[0], isa, may_alias=False)


def takers(found: Site) -> list[str]:
    return [name for name, kernel in NAMED.items() if kernel.handles(found)]


def test_dense_convolutions_3_x_3_are_taken_if_asked_for() -> None:
    assert takers(site()) == [FLASH, *SCRATCH] == list(NAMED)
    assert len(SCRATCH) == len(PATCHES)
    assert all(kernel.on_request for kernel in KERNELS)


@pytest.mark.parametrize(
    "found",
    [
        site(kernel=(1, 3)),
        site(kernel=(5, 5)),
        site(stride=(2, 1)),
        site(dilation=(1, 2), padding=(2, 2, 2, 2)),
        site(groups=8),
        site(isa=frozenset()),
        site(bits=(4, 8)),
        site(bits=(8, 4)),
    ],
    ids=["1x3", "5x5", "stride", "dilation", "depthwise", "portable", "input4", "output4"],
)
def test_others_are_not(found: Site) -> None:
    assert takers(found) == []


def test_weights_transformed_at_run_time_need_fewer_channels() -> None:
    assert takers(site((8, 8, MOST_FILTERED), 4)) == [FLASH, *SCRATCH]
    assert takers(site((8, 8, MOST_FILTERED + 1), 4)) == [FLASH]
    assert takers(site((4, 4, MOST_CHANNELS), 4)) == [FLASH]
    assert takers(site((4, 4, MOST_CHANNELS + 1), 4)) == []


@pytest.mark.parametrize(("image", "able"), [((2, 2), (2,)), ((4, 4), (2,)), ((4, 8), (2, 4)), ((8, 8), (2, 4, 8))])
def test_no_more_patches_at_once_than_an_image_is_worth(image: tuple[int, int], able: tuple[int, ...]) -> None:
    # Patches are two rows of four outputs: 1, 2, 4 and 8 of them; more than half of those at once have to be there.
    found = takers(site((*image, 8)))
    assert tuple(patches for patches, name in zip(PATCHES, SCRATCH, strict=True) if name in found) == able


def test_more_patches_at_once_cost_fewer_instructions_and_more_memory() -> None:
    found = site()
    costs = [NAMED[name].cost(found) for name in SCRATCH]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)
    assert NAMED[FLASH].cost(found) < costs[-1]
    # A transformed patch is two tiles of 16 places of eight channels, two bytes each.
    memory = [NAMED[name].scratch_bytes(found) for name in SCRATCH]
    assert [nbytes - memory[0] for nbytes in memory] == [512 * (patches - PATCHES[0]) for patches in PATCHES]


def test_blocks_of_which_not_all_outputs_are_wanted_are_staged() -> None:
    kernel, block = NAMED[FLASH], 2 * 4 * 4
    # Six channels are two blocks, the last of two channels; eight are two whole ones.
    assert kernel.scratch_bytes(site(channels=6)) - kernel.scratch_bytes(site(channels=8)) == block
    # One row of outputs is less than a patch.
    single, double = site((3, 8, 8), padding=(0, 0, 1, 1)), site((4, 8, 8), padding=(0, 0, 1, 1))
    assert single.output.shape[0] == 1
    assert kernel.scratch_bytes(single) - kernel.scratch_bytes(double) == block
