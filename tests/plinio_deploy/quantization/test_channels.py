# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization import capture
from plinio_deploy.quantization.channels import TiedChannels, check_pruned, tied_channels
from plinio_deploy.quantization.graph import Graph
from plinio_deploy.quantization.simplify import simplify
from tests.plinio_deploy.quantization.test_capture import Lambda


def analysed(function: Any, shape: tuple[int, ...] = (2, 4, 4), **layers: Any) -> tuple[Graph, TiedChannels]:
    graph = simplify(capture(Lambda(function, **layers), torch.zeros(1, *shape)))
    return graph, tied_channels(graph)


def same(tied: TiedChannels, *nodes: str) -> bool:
    """Whether the nodes' output channels are tied, place by place."""
    return all(tied.outputs[node].tolist() == tied.outputs[nodes[0]].tolist() for node in nodes)


def test_a_chain_ties_consumers_to_producers_only() -> None:
    _, tied = analysed(lambda s, x: s.b(s.a(x)), a=nn.Conv2d(2, 3, 1), b=nn.Conv2d(3, 4, 1))
    assert tied.inputs["b"].tolist() == tied.outputs["a"].tolist()
    assert not set(tied.outputs["a"]) & set(tied.outputs["b"])
    assert tied.prunable("a").all()
    assert not tied.prunable("b").any(), "what the network returns stays"
    assert not any(tied.components[index].prunable for index in tied.inputs["a"])


def test_an_add_ties_both_of_its_inputs() -> None:
    _, tied = analysed(
        lambda s, x: s.c(s.a(x) + s.b(x)), a=nn.Conv2d(2, 3, 1), b=nn.Conv2d(2, 3, 1), c=nn.Conv2d(3, 1, 1)
    )
    assert same(tied, "a", "b")
    assert tied.components[tied.outputs["a"][1]].members == (("a", 1), ("b", 1))


def test_a_residual_around_a_block_ties_it_to_what_goes_in() -> None:
    def forward(s: Any, x: Any) -> Any:
        y = s.a(x).relu()
        return s.d(y + s.c(s.b(y).relu()))

    _, tied = analysed(forward, a=nn.Conv2d(2, 3, 1), b=nn.Conv2d(3, 5, 1), c=nn.Conv2d(5, 3, 1), d=nn.Conv2d(3, 1, 1))
    assert same(tied, "a", "c")
    assert not set(tied.outputs["b"]) & set(tied.outputs["a"])


def test_adding_the_networks_input_keeps_all_channels() -> None:
    _, tied = analysed(lambda s, x: s.b(x + s.a(x)), a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 1, 1))
    assert not tied.prunable("a").any()


def test_depthwise_channels_are_their_producers() -> None:
    _, tied = analysed(
        lambda s, x: s.c(s.b(s.a(x))),
        a=nn.Conv2d(2, 3, 1),
        b=nn.Conv2d(3, 6, 1, groups=3),
        c=nn.Conv2d(6, 1, 1),
    )
    first = tied.outputs["a"].tolist()
    assert tied.outputs["b"].tolist() == [channel for channel in first for _ in range(2)]
    assert tied.components[first[1]].members == (("a", 1), ("b", 2), ("b", 3))


def test_groups_stay_equally_large() -> None:
    _, tied = analysed(
        lambda s, x: s.c(s.b(s.a(x))),
        a=nn.Conv2d(2, 6, 1),
        b=nn.Conv2d(6, 4, 1, groups=2),
        c=nn.Conv2d(4, 1, 1),
    )
    first, second = tied.outputs["a"].tolist(), tied.outputs["b"].tolist()
    assert first[:3] == first[3:]
    assert len(set(first)) == 3
    assert second[:2] == second[2:]
    assert len(set(second)) == 2


def test_a_concat_puts_channels_side_by_side() -> None:
    _, tied = analysed(
        lambda s, x: s.d(torch.cat([s.a(x), s.b(x)], 1) + s.c(x)),
        a=nn.Conv2d(2, 1, 1),
        b=nn.Conv2d(2, 2, 1),
        c=nn.Conv2d(2, 3, 1),
        d=nn.Conv2d(3, 1, 1),
    )
    assert tied.outputs["c"].tolist() == [*tied.outputs["a"].tolist(), *tied.outputs["b"].tolist()]


def test_a_concat_along_the_rows_ties_its_inputs() -> None:
    _, tied = analysed(
        lambda s, x: s.c(torch.cat([s.a(x), s.b(x)], 2)),
        a=nn.Conv2d(2, 3, 1),
        b=nn.Conv2d(2, 3, 1),
        c=nn.Conv2d(3, 1, 1),
    )
    assert same(tied, "a", "b")


def test_columns_behind_a_flatten_follow_the_maps_channels() -> None:
    _, tied = analysed(lambda s, x: s.b(s.a(x).flatten(1)), a=nn.Conv2d(2, 3, 1), b=nn.Linear(48, 2))
    expected = [channel for channel in tied.outputs["a"].tolist() for _ in range(16)]
    assert tied.inputs["b"].tolist() == expected, "torch counts channels first"
    assert tied.prunable("a").all()


def test_pools_means_and_pads_keep_channels() -> None:
    _, tied = analysed(
        lambda s, x: s.b(nn.functional.pad(nn.functional.max_pool2d(s.a(x), 2), (1, 0)).mean((2, 3))),
        a=nn.Conv2d(2, 3, 1),
        b=nn.Linear(3, 2),
    )
    assert tied.inputs["b"].tolist() == tied.outputs["a"].tolist()


def test_a_vector_that_is_read_as_a_map_has_the_maps_channels() -> None:
    _, tied = analysed(lambda s, x: s.b(s.a(x).reshape(-1, 1, 6)), (2,), a=nn.Linear(2, 6), b=nn.Conv1d(1, 2, 3))
    assert len(set(tied.outputs["a"].tolist())) == 1, "six positions of one channel"


def test_one_dimensional_networks() -> None:
    _, tied = analysed(
        lambda s, x: s.c(s.b(s.a(x)).flatten(1)),
        (1, 5),
        a=nn.Conv1d(1, 2, 1),
        b=nn.Conv1d(2, 2, 1, groups=2),
        c=nn.Linear(10, 1),
    )
    assert same(tied, "a", "b")
    assert tied.inputs["c"].tolist() == [channel for channel in tied.outputs["a"].tolist() for _ in range(5)]


def test_shared_weights_have_shared_channels() -> None:
    _, tied = analysed(lambda s, x: s.b(s.a(s.a(x))), a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 1, 1))
    assert same(tied, "a", "a_2")


def test_what_cannot_be_zero_stays() -> None:
    _, tied = analysed(lambda s, x: s.b(s.a(x).clamp(0.5, 1.0)), a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 1, 1))
    assert not tied.prunable("a").any()


RESIDUAL: dict[str, Any] = {"a": nn.Conv2d(2, 3, 1), "b": nn.Conv2d(3, 3, 1), "c": nn.Conv2d(3, 2, 1)}


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({"a": (0, 0, 0), "b": (0, 0, 0), "c": (8, 8)}, "all channels of a layer"),
        ({"a": (0, 8, 8), "b": (8, 8, 8), "c": (8, 8)}, "tied"),
        ({"a": (8, 8, 8), "b": (8, 2, 8), "c": (8, 0)}, "cannot be removed"),
    ],
)
def test_widths_that_disagree_are_refused_by_name(bits: dict[str, tuple[int, ...]], message: str) -> None:
    graph, tied = analysed(lambda s, x: s.c(s.a(x) + s.b(s.a(x))), **RESIDUAL)
    bits["a_2"] = bits["a"]
    with pytest.raises(UsageError, match=message) as caught:
        check_pruned(graph.by_name(), tied, bits)
    assert caught.value.where in ("a", "b", "c")


def test_widths_that_agree_are_taken() -> None:
    graph, tied = analysed(lambda s, x: s.c(s.a(x) + s.b(s.a(x))), **RESIDUAL)
    gone = (8, 0, 2)
    check_pruned(graph.by_name(), tied, {"a": gone, "a_2": gone, "b": (4, 0, 4), "c": (8, 8)})
