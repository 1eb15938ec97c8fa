# SPDX-License-Identifier: Apache-2.0
"""Other shapes of the same codes: nothing to do, a copy, or another packing."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plinio_deploy.codegen import registry
from tests.codegen.harness import check_networks, kernel_names, sites
from tests.networks import Builder

pytestmark = pytest.mark.host


def test_every_way_of_splitting_rows(tmp_path: Path) -> None:
    b = Builder(1)
    shapes = [(2, 3, 6), (1, 1, 36), (36, 1, 1), (3, 4, 3), (36,)]
    for bits in (2, 4, 8):
        q = b.quantizer(bits)
        for source, target in product(shapes, shapes):
            b.reshape(b.input(source, q), target)
    check_networks([b.build()], tmp_path, samples=2)


def test_bytes_that_stay_are_not_moved() -> None:
    b = Builder(2)
    q = (4, False, 0.1, 0)
    b.reshape(b.input((2, 2, 4), q), (16,))
    b.reshape(b.input((2, 2, 3), q), (4, 1, 3))
    b.reshape(b.input((1, 1, 5), q), (5,))
    b.reshape(b.input((2, 2, 3), q), (12,))
    free = [registry.choose(site).name for site in sites(b.build())]
    assert free == ["reshape_alias", "reshape_alias", "reshape_alias", "reshape_pack"]
    apart = [registry.choose(site).name for site in sites(b.build(), may_alias=False)]
    assert apart == ["reshape_copy", "reshape_copy", "reshape_copy", "reshape_pack"]


def test_reshapes_of_reshapes_are_one_tensor(tmp_path: Path) -> None:
    b = Builder(3)
    x = b.conv(b.input((4, 4, 2)), 8, (1, 1), out=(8, True, 0.1, 0))
    b.linear(b.flatten(b.reshape(b.reshape(x, (8, 2, 8)), (4, 8, 4))), 3)
    case = check_networks([b.build()], tmp_path)[0]
    assert kernel_names(case) == ["conv_plain", "linear_plain"]
    assert set(case.manifest.aliases.values()) == {x}
