# SPDX-License-Identifier: Apache-2.0
"""SuperNet, and SuperNet followed by PIT, on ResNet8 against uniform width scaling.

Each 3x3 convolution in the residual blocks gets the alternatives of the recipe `ic`: depthwise-separable ones. The seed
is trained for a little first, for they start as what is nearest to its layers; what is selected goes on from there.

    python benchmarks/pareto_supernet.py --data DIR --budget small --reuse benchmarks/results/pareto_pit.json
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
from pareto_common import Job, run
from pareto_course import COSTS, Course, plain_optimizer, price_of, search_optimizers
from pareto_pit import search as search_channels
from pareto_points import Point
from torch import nn

from plinio_deploy import SuperNet
from plinio_deploy.recipes.chain import FALLING, SELECTION_RATE
from plinio_deploy.recipes.ic import SEARCHED
from plinio_deploy.recipes.supernets import in_place_of, start_alternatives
from plinio_deploy.search import training

SELECTION_ENDS = 0.1, 0.14, 0.22
"""Shares of the budget at which phases end: training of the seed, that of alternatives, and their selection."""

PRUNING_ENDS = 0.25, 0.4
"""Likewise in a chain: training of what was selected, and the pruning of its channels."""

STRENGTHS = (0.2, 0.0), (0.3, 0.0), (1.0, 0.0), (2.0, 0.0), (1.0, 0.2), (1.0, 1.0)
"""Of selections alone: prices of the size and of the multiply-accumulates, relative to the seed's."""

CHAINS = (1.0, 0.1), (2.0, 0.1)
"""Strengths of selection and of pruning."""


def search(course: Course, model: nn.Module, price: Any, first: int, warmup: int, last: int) -> SuperNet:
    """Train a network with alternatives up to, not including, epoch ``last``, and select from epoch ``warmup`` on."""
    nas = SuperNet(model, cost=COSTS, input_shape=course.shape, full_cost=True)
    optimizer = search_optimizers(nas)
    optimizer.nas = torch.optim.SGD(list(nas.nas_parameters()), lr=SELECTION_RATE)
    nas.train_net_only()
    course.fit(nas, first, warmup, optimizer)
    nas.train_net_and_nas()
    course.fit(
        nas,
        warmup,
        last,
        optimizer,
        each=lambda epoch: training.anneal(nas, FALLING, epoch, last - warmup),
        regularizer=price,
    )
    return nas


def choose(course: Course, price: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The selected network, and what was chosen."""
    grown, warm, last = course.ends(*SELECTION_ENDS)
    start = course.network()
    course.fit(start, 0, grown, plain_optimizer(start))
    start = in_place_of(start, SEARCHED)
    start_alternatives(start)
    nas = search(course, start, price, grown, warm, last)
    found = nas.eval().export()
    return found, {"chosen": {name: module.best_index for name, module in nas.named_choices()}}


def select(size: float, macs: float, setting: float | str, course: Course) -> Point:
    """SuperNet alone."""
    started = time.monotonic()
    found, details = choose(course, price_of(size=size, macs=macs))
    *_, selected = course.ends(*SELECTION_ENDS)
    details["epochs"] = selected + course.fit(found, selected, course.budget.epochs, plain_optimizer(found))
    return course.point("supernet", setting, found, started, **details)


def select_and_prune(selection: float, strength: float, setting: str, course: Course) -> Point:
    """SuperNet, then PIT, each at its strength: layers first, then channels."""
    started = time.monotonic()
    found, details = choose(course, price_of(size=selection))
    *_, selected, firm, pruned = course.ends(*SELECTION_ENDS, *PRUNING_ENDS)
    course.fit(found, selected, firm, plain_optimizer(found))
    found, _ = search_channels(course, found, price_of(size=strength), firm, pruned)
    course.fit(found, pruned, course.budget.epochs, plain_optimizer(found))
    return course.point("supernet-pit", setting, found, started, **details)


def selections() -> list[Job]:
    """One search per pair of strengths."""
    named = [(size, macs, f"{size:g}, {macs:g}" if macs else size) for size, macs in STRENGTHS]
    return [Job("supernet", name, partial(select, size, macs, name)) for size, macs, name in named]


def chains() -> list[Job]:
    """One chain per pair of strengths."""
    named = [(selection, pruning, f"{selection:g}, {pruning:g}") for selection, pruning in CHAINS]
    return [Job("supernet-pit", name, partial(select_and_prune, *pair, name)) for *pair, name in named]


if __name__ == "__main__":
    run("SuperNet on ResNet8", "pareto_supernet", [selections, chains])
