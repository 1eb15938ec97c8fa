# SPDX-License-Identifier: Apache-2.0
"""Arrays of layers with weights, and when widths are looked up per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.codegen import weighted
from plinio_deploy.codegen.emit import Emitter, Helpers
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.network import Flavour, Linear
from tests.codegen.dsp_cases import linear_shared
from tests.codegen.harness import check_networks, kernel_names, sites
from tests.networks import Builder


def layer(w_bits: Sequence[int], flavour: Flavour = "hi32", *, per_channel: bool = True) -> tuple[Site, Linear]:
    b = Builder(0, flavour)
    b.linear(b.input((9,), (8, False, 0.1, 0)), len(w_bits), w_bits=w_bits, per_channel=per_channel)
    site = sites(b.build())[0]
    assert isinstance(site.op, Linear)
    return site, site.op


@pytest.mark.parametrize(
    ("flavour", "per_channel", "suffixes"),
    [
        ("hi32", True, ["_w", "_b", "_m"]),
        ("hi32", False, ["_w", "_b"]),
        ("tflite", True, ["_w", "_b", "_m", "_s"]),
        ("tflite", False, ["_w", "_b"]),
    ],
)
def test_arrays_hold_what_differs_between_channels(flavour: Flavour, per_channel: bool, suffixes: list[str]) -> None:
    _, op = layer((8, 8, 4), flavour, per_channel=per_channel)
    assert [array.suffix for array in weighted.arrays(op, "")] == suffixes


def test_few_runs_are_written_out_and_many_are_looked_up() -> None:
    _, few = layer((8, 4, 2, 8))
    site, many = layer((8, 4, 8, 4, 8))
    assert weighted.is_uniform(few)
    assert not weighted.is_uniform(many)
    bits = {array.suffix: array for array in weighted.arrays(many, "")}["_bits"]
    assert (bits.ctype, bits.values) == ("uint8_t", (8, 4, 8, 4, 8))
    variables = weighted.variables(site, many, Emitter("net", "net_l00_a", Helpers()))
    assert variables["widths"] == [(8, 9), (4, 5)]
    assert variables["weight_ctype"] == "uint8_t"


def test_packed_weights_cost_more_than_bytes() -> None:
    costs = [weighted.cost(layer(bits)[0], 6.0) for bits in ((8, 8), (8, 4), (4, 4))]
    assert costs[0] < costs[1] < costs[2]


def test_biases_of_layers_with_one_multiplier_take_two_bytes_where_they_fit() -> None:
    for per_channel in (False, True):
        _, op = layer((8, 8, 4), per_channel=per_channel)
        op = replace(op, bias=np.array([-(1 << 17), 4, 12], dtype=np.int32))
        [biases] = [array for array in weighted.arrays(op, "") if array.suffix == "_b"]
        assert (biases.ctype, biases.values) == (
            ("int32_t", tuple(op.bias.tolist())) if per_channel else ("int16_t", (-(1 << 15), 1, 3))
        )
        assert weighted.bias_unit(replace(op, bias=op.bias + 1)) is None


@pytest.mark.host
def test_short_biases_compute_what_the_interpreter_computes(tmp_path: Path) -> None:
    [case] = check_networks([linear_shared()], tmp_path)
    assert all(kernel == "linear_plain" for kernel in kernel_names(case))
    units = {weighted.bias_unit(op) for op in case.network.ops if isinstance(op, Linear)}
    assert len(units - {None, 1}) > 1
    assert {None, 1} < units
