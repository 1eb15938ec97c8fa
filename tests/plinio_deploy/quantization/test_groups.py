# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import torch
from torch import nn

from plinio_deploy.quantization import LayerConfig, QuantConfig, capture
from plinio_deploy.quantization.groups import Group, can_be_negative, quantizer_groups
from plinio_deploy.quantization.simplify import simplify
from tests.plinio_deploy.quantization.test_capture import Lambda


def grouped(
    function: Any, config: QuantConfig | None = None, **layers: nn.Module
) -> tuple[dict[str, str], dict[str, Group]]:
    graph = simplify(capture(Lambda(function, **layers), torch.zeros(1, 2, 4, 4)))
    return quantizer_groups(graph, config or QuantConfig())


def conv() -> nn.Module:
    return nn.Conv2d(2, 2, 1)


def test_operators_that_move_values_hand_on_their_quantizer() -> None:
    of, groups = grouped(
        lambda s, x: s.pool(nn.functional.pad(s.a(x), (1, 1))).flatten(2), a=conv(), pool=nn.MaxPool2d(2)
    )
    assert set(of.values()) == {"input", "a"} == set(groups)


def test_inputs_of_a_concat_share_one_signed_if_any_is() -> None:
    of, groups = grouped(lambda s, x: torch.cat([s.a(x).relu(), s.b(x)], 1), a=conv(), b=conv())
    assert of["a"] == of["b"] == of["cat"] == "a"
    assert groups["a"].signed


def test_nested_concats_share_one() -> None:
    of, _ = grouped(lambda s, x: torch.cat([torch.cat([s.a(x), s.b(x)], 1), s.c(x)], 1), a=conv(), b=conv(), c=conv())
    assert of["a"] == of["b"] == of["c"] == of["cat"] == of["cat_2"]


def test_the_networks_input_keeps_its_own_quantizer() -> None:
    of, groups = grouped(lambda s, x: torch.cat([x, s.a(x)], 1), a=conv())
    assert of["input"] == "input"
    assert of["cat"] == of["a"]
    assert groups["input"].input_index == 0
    assert groups[of["cat"]].input_index is None


def test_a_concat_of_inputs_alone_has_its_own_quantizer() -> None:
    of, _ = grouped(lambda s, x: torch.cat([x, x], 1))
    assert of == {"input": "input", "cat": "cat"}


def test_other_widths_do_not_share() -> None:
    config = QuantConfig(layers={"b": LayerConfig(a_bits=4)})
    of, groups = grouped(
        lambda s, x: s.c(torch.cat([s.a(x), s.b(x)], 1)), config, a=conv(), b=conv(), c=nn.Conv2d(4, 2, 1)
    )
    assert of["a"] == of["cat"] != of["b"]
    assert (groups[of["a"]].bits, groups[of["b"]].bits) == (8, 4)


def test_output_bits_reach_through_moves() -> None:
    config = QuantConfig(a_bits=2, output_bits=8)
    of, groups = grouped(lambda s, x: s.b(s.a(x)).reshape(x.shape[0], 2, 16), config, a=conv(), b=conv())
    assert (groups[of["a"]].bits, groups[of["b"]].bits) == (2, 8)


def test_what_can_be_negative() -> None:
    graph = simplify(
        capture(
            Lambda(lambda s, x: s.pool(s.a(x).relu() + x) + s.pool(s.b(x)), a=conv(), b=conv(), pool=nn.AvgPool2d(2)),
            torch.zeros(1, 2, 4, 4),
        )
    )
    assert can_be_negative(graph, QuantConfig()) == {
        "input": False, "a": False, "add": False, "pool": False, "b": True, "pool_2": True, "add_2": True,
    }  # fmt: skip
    assert can_be_negative(graph, QuantConfig(input_range=(-1.0, 1.0)))["add"]
