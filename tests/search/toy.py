# SPDX-License-Identifier: Apache-2.0
"""A model under search whose costs are plain formulas of its parameters: what regularizers and training see of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from plinio_deploy.search.methods.supernet import SuperNetModule

BITS = object()
"""Stands for a cost specification that nobody knows."""


class Toy(nn.Module):
    """Two selections with branch prices, and one mask per feature with a price of 10 each; the first always lives.

    Args:
        single: one unnamed cost instead of ``size`` and ``time``.
    """

    PRICES = ((100.0, 40.0, 60.0), (5.0, 80.0))

    def __init__(self, single: bool = False) -> None:
        super().__init__()
        self.choices = nn.ModuleList(SuperNetModule([nn.Linear(2, 2) for _ in prices]) for prices in self.PRICES)
        self.masks = nn.Parameter(torch.ones(4))
        self.cost_specification: Any = BITS if single else {"size": BITS, "time": BITS}

    @property
    def selections(self) -> list[SuperNetModule]:
        return [choice for choice in self.choices if isinstance(choice, SuperNetModule)]

    def forward(self, x: Tensor) -> Tensor:
        for choice in self.choices:
            x = choice(x)
        return x

    def get_cost(self, name: str | None = None) -> Tensor:
        total = 10 * self.masks[1:].abs().sum() + 10
        for choice, prices in zip(self.selections, self.PRICES, strict=True):
            total = total + choice.theta() @ torch.tensor(prices)
        return total * (1000 if name == "time" else 1)

    def nas_parameters(self) -> Iterator[nn.Parameter]:
        yield self.masks
        for choice in self.selections:
            yield choice.alpha

    def net_parameters(self) -> Iterator[nn.Parameter]:
        searched = {id(p) for p in self.nas_parameters()}
        yield from (p for p in self.parameters() if id(p) not in searched)

    def train_net_only(self) -> None:
        for parameter in self.nas_parameters():
            parameter.requires_grad_(False)

    def train_net_and_nas(self) -> None:
        for parameter in self.parameters():
            parameter.requires_grad_(True)
