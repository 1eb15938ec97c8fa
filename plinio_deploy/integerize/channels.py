# SPDX-License-Identifier: Apache-2.0
"""Which channels the integer network has, and in which order: 0-bit ones vanish, those of one width lie together.

Two kinds of numbers are used. A layer's *channels* are given as the numbers that they have in the model. A tensor's
*elements* are given as positions in the tensor that the model's layer would have, all channels in their own order: both
lists are as long as what is left. Ops map the elements of what they read to the elements of their result, so wherever
channels went, the consumer's weights follow.

Only layers whose channels meet the same others everywhere are put in order; what an add of a concat, a channel that is
repeated, or an input or output of the network holds fast stays as it is. Kernels take any order of widths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from plinio_deploy.quantization.channels import TiedChannels
from plinio_deploy.quantization.layout import Shape

IntArray = npt.NDArray[np.int64]
Widths = Mapping[str, tuple[int, ...]]
"""Of each output channel, by conv or linear node."""


def remaining_channels(tied: TiedChannels, widths: Widths, weights: Mapping[str, int]) -> dict[str, IntArray]:
    """The output channels of every layer that remain, in the order that they are to have.

    Args:
        tied: the components of tied channels.
        widths: widths that agree over tied channels about what is 0.
        weights: number of weights of each node; where layers disagree about the order, the largest decides.

    Returns:
        For each node the numbers that its channels had.
    """
    found: dict[str, IntArray] = {}
    for family in _families(tied):
        order = np.arange(len(widths[family[0]]))
        if _movable(tied, family):
            first = sorted(family, key=lambda name: -weights[name])
            keys = [-np.array(widths[name]) for name in reversed(first)]
            order = np.lexsort(keys)  # the last key is the first that counts; stable
        for name in family:
            own = order if len(order) == len(widths[name]) else np.arange(len(widths[name]))
            found[name] = own[np.array(widths[name])[own] != 0].astype(np.int64)
    return found


def removed(tied: TiedChannels, widths: Widths) -> IntArray:
    """Numbers of the components whose channels have 0 bits."""
    gone = [tied.outputs[name][np.array(bits) == 0] for name, bits in widths.items()]
    return np.unique(np.concatenate(gone)) if gone else np.zeros(0, dtype=np.int64)


def _families(tied: TiedChannels) -> list[list[str]]:
    """Layers that share any component, directly or through others."""
    family_of: dict[int, list[str]] = {}
    families: list[list[str]] = []
    for name, components in tied.outputs.items():
        own = [name]
        for component in np.unique(components).tolist():
            other = family_of.get(component)
            if other is not None and other is not own:
                other.extend(own)
                families = [family for family in families if family is not own]
                family_of.update({key: other for key, value in family_of.items() if value is own})
                own = other
            family_of[component] = own
        if all(family is not own for family in families):
            families.append(own)
    return families


def _movable(tied: TiedChannels, family: Sequence[str]) -> bool:
    """Whether one order can be given to all layers of a family."""
    first = tied.outputs[family[0]]
    return (
        len(np.unique(first)) == len(first)
        and all(np.array_equal(tied.outputs[name], first) for name in family)
        and all(tied.components[component].prunable for component in first.tolist())
    )


def whole(shape: Shape) -> IntArray:
    """Elements of a tensor of which nothing was taken away."""
    return np.arange(math.prod(shape), dtype=np.int64)


def planes(elements: IntArray, shape: Shape) -> IntArray:
    """Channels of what is left of a tensor.

    Args:
        elements: of the tensor.
        shape: that it would have in full: ``(H, W, C)``, or ``(C,)``, whose channels are its elements.
    """
    channels = shape[-1]
    rows = elements.reshape(math.prod(shape[:-1]), -1)
    assert np.array_equal(rows, rows[0] + channels * np.arange(len(rows))[:, np.newaxis]), "channels vanish as wholes"
    first: IntArray = rows[0]
    return first


def spread(channels: IntArray, shape: Shape) -> IntArray:
    """Elements of a tensor of which some channels are left: the inverse of `planes`."""
    pixels = np.arange(math.prod(shape[:-1]), dtype=np.int64)
    return (channels + shape[-1] * pixels[:, np.newaxis]).ravel()


def left_over(elements: IntArray, shape: Shape) -> Shape:
    """Shape of what is left of a tensor."""
    return (*shape[:-1], len(elements) // math.prod(shape[:-1]))


def joined(parts: Sequence[IntArray], shapes: Sequence[Shape], shape: Shape, axis: int) -> IntArray:
    """Elements of a concat.

    Args:
        parts: elements of its inputs.
        shapes: that these would have in full.
        shape: that the result would have in full.
        axis: along which they are joined.
    """
    ends = np.cumsum([own[axis] for own in shapes])[:-1]
    places = np.split(whole(shape).reshape(shape), ends, axis=axis)
    pieces = [
        place.ravel()[part].reshape(left_over(part, own))
        for place, part, own in zip(places, parts, shapes, strict=True)
    ]
    return np.concatenate(pieces, axis=axis).ravel()


def group_columns(
    columns: IntArray, outputs: IntArray, groups: int, per_group: tuple[int, int]
) -> tuple[IntArray, int]:
    """What is left of a convolution with groups.

    Args:
        columns: input channels that are left.
        outputs: output channels that are left.
        groups: in full.
        per_group: input and output channels of each group, in full.

    Returns:
        Positions within a group of the inputs that are left, and how many groups are left.
    """
    inside, outside = per_group
    if inside == 1:  # depthwise: a group is a channel
        assert np.array_equal(outputs // outside, np.repeat(columns, outside)), "a channel lost its input"
        return np.zeros(1, dtype=np.int64), len(columns)
    rows = columns.reshape(groups, -1) - inside * np.arange(groups)[:, np.newaxis]
    made = outputs.reshape(groups, -1) - outside * np.arange(groups)[:, np.newaxis]
    assert np.array_equal(rows, np.broadcast_to(rows[0], rows.shape)), "groups stay equally large"
    assert np.array_equal(made, np.broadcast_to(made[0], made.shape)), "groups stay equally large"
    return rows[0], groups
