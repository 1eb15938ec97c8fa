# SPDX-License-Identifier: Apache-2.0
"""One name for the function, the method, the operator and the in-place form of an operation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx

from plinio_deploy.search.graph.names import ELEMENTWISE, MOVEMENT, REDUCTIONS, VIEWS, name_of


def mine(x: Any) -> Any:
    return x


def node(target: Callable[..., Any] | str) -> fx.Node:
    graph = fx.Graph()
    x = graph.placeholder("x")
    return graph.call_method(target, (x,)) if isinstance(target, str) else graph.call_function(target, (x,))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (torch.add, "add"), (operator.add, "add"), (operator.iadd, "add"), ("add", "add"), ("add_", "add"),
        ("__add__", "add"),
        (operator.and_, "and"), (operator.invert, "invert"), (operator.itruediv, "truediv"),
        (operator.getitem, "getitem"),
        (F.relu, "relu"), (torch.relu_, "relu"), (F.max_pool2d, "max_pool2d"), (F.hardswish, "hardswish"),
        (torch.cat, "cat"), ("view", "view"), (mine, "tests.search.graph.test_names.mine"),
    ],
)  # fmt: skip
def test_names(target: Callable[..., Any] | str, name: str) -> None:
    assert name_of(node(target)) == name


def test_meanings_exclude_each_other() -> None:
    assert not ELEMENTWISE & MOVEMENT
    assert not ELEMENTWISE & REDUCTIONS
    assert not MOVEMENT & REDUCTIONS
    assert VIEWS <= ELEMENTWISE | MOVEMENT
