# SPDX-License-Identifier: Apache-2.0
"""Portable C for every width of weights x every kind of activation x every layer with weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from plinio_deploy.network import Conv, Linear, Network
from tests.codegen.harness import check_cases, make_case
from tests.network_builder import Builder

pytestmark = pytest.mark.host

WEIGHTS: dict[str, tuple[int, ...]] = {
    "2": (2,),
    "4": (4,),
    "8": (8,),
    "runs": (8, 8, 4, 4, 4, 2, 2),
    "scattered": (2, 8, 4, 4, 2, 8, 2),
}
ACTIVATIONS = tuple(itertools.product((2, 4, 8), (False, True)))
"""Bits, signed."""
CHANNELS = 7
"""Rows of sub-byte codes end within a byte."""


def layers_of(bits: int, signed: bool) -> Network:
    """Every layer at every width of weights, reading activations of one kind and writing every other."""
    b = Builder(bits + signed, name=f"grid_{'s' if signed else 'u'}{bits}")
    image = b.input((5, 4, CHANNELS), b.quantizer(bits, signed))
    signal = b.input((1, 9, CHANNELS), b.quantizer(bits, signed))
    flat = b.flatten(image)
    written = itertools.cycle(ACTIVATIONS)
    made: list[str] = []
    for width in WEIGHTS.values():
        layers = (
            (image, (3, 3), (1, 1, 1, 1), 1),
            (signal, (1, 3), (0, 0, 2, 0), 1),
            (image, (3, 3), (1, 1, 1, 1), CHANNELS),
            (signal, (1, 3), (0, 0, 2, 0), CHANNELS),
            (image, (1, 1), (0, 0, 0, 0), 1),
        )
        for source, kernel, padding, groups in layers:
            out = b.quantizer(*next(written))
            made.append(b.conv(source, CHANNELS, kernel, padding=padding, groups=groups, w_bits=width, out=out))
        made.append(b.linear(flat, CHANNELS, w_bits=width, out=b.quantizer(*next(written))))
        next(written)  # six kinds, six layers: without this every layer would always write the same kind
    return b.build(*made)


def test_the_whole_grid(tmp_path: Path) -> None:
    networks = [layers_of(bits, signed) for bits, signed in ACTIVATIONS]
    seen = set()
    for network in networks:
        for op in network.ops:
            if isinstance(op, Conv | Linear):
                source = network.tensors[op.input]
                kind = "linear" if isinstance(op, Linear) else (op.kernel, op.is_depthwise)
                seen.add((kind, op.weights.bits, source.bits, source.signed))
    assert len(seen) == 6 * len(WEIGHTS) * len(ACTIVATIONS)
    cases = {f"g{index}": make_case(network, f"g{index}") for index, network in enumerate(networks)}
    check_cases(cases, tmp_path)
