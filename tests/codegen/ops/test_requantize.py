# SPDX-License-Identifier: Apache-2.0
"""Changes of quantizer: every code of every width."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.codegen import registry
from plinio_deploy.interpreter import run
from plinio_deploy.network import Flavour
from plinio_deploy.packing import pack
from tests.codegen.harness import Case, build_library, check_case, check_networks, make_case, sites
from tests.networks import Builder

pytestmark = pytest.mark.host


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_every_code_of_every_width(flavour: Flavour, tmp_path: Path) -> None:
    b = Builder(1, flavour)
    for bits, signed, out in product((2, 4, 8), (False, True), (2, 4, 8)):
        x = b.input((1, 32, 8), b.quantizer(bits, signed))
        b.requantize(x, b.quantizer(out), relu=bool(b.rng.integers(2)))
    network = b.build()
    codes = [
        (np.arange(256) % (1 << t.bits) + t.qmin).reshape(1, *t.shape).astype(np.int64) for t in network.input_tensors()
    ]
    values = run(network, codes)
    base = make_case(network, samples=1)
    inputs = [b"".join(pack(network.tensors[name], values[name]) for name in network.inputs)]
    expected = {name: [pack(network.tensors[name], value)] for name, value in values.items()}
    library = build_library({"net": base}, tmp_path)
    check_case(library, "net", Case(network, base.artifact, base.manifest, inputs, expected))


def test_the_input_is_overwritten_if_widths_agree() -> None:
    b = Builder(2)
    x = b.input((2, 2, 3), (4, False, 0.1, 0))
    b.requantize(x, (4, True, 0.1, 0))
    b.requantize(x, (8, True, 0.1, 0))
    assert [registry.choose(site).in_place(site) for site in sites(b.build())] == [(0,), ()]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_in_place_it_computes_the_same(bits: int, tmp_path: Path) -> None:
    b = Builder(bits)
    x = b.requantize(b.input((3, 3, 5), b.quantizer(8)), b.quantizer(bits))
    y = b.requantize(x, b.quantizer(bits))
    b.max_pool(y, (2, 2))
    case = check_networks([b.build()], tmp_path)[0]
    assert case.manifest.steps[0].offset == case.manifest.steps[1].offset
