# SPDX-License-Identifier: Apache-2.0
"""SuperNet, and SuperNet followed by PIT, on ResNet8 against uniform width scaling.

Each 3x3 convolution in the residual blocks gets the alternatives of the recipe `ic`: depthwise-separable ones. What is
selected starts again from random weights, in the epochs that are left: those that learned in turns, beside branches
that are gone, and under a normalization of all of them together, are a worse start than none. Only with
``--from-seed`` it goes on: there alternatives start as the nearest to the trained seed's layers.

    python benchmarks/pareto_supernet.py --data DIR --budget small --reuse benchmarks/results/pareto_pit.json
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
from pareto_common import Job, run
from pareto_course import COSTS, Budget, Course, plain_optimizer, search_optimizers
from pareto_pit import search as search_channels
from pareto_points import Point
from torch import nn

from plinio_deploy import SuperNet, regularizers
from plinio_deploy.recipes.chain import FALLING, SELECTION_RATE
from plinio_deploy.recipes.ic import SEARCHED
from plinio_deploy.recipes.supernets import in_place_of, start_alternatives
from plinio_deploy.search import training

WARMUP, SELECTED, FIRM, PRUNED = 0.08, 0.2, 0.4, 0.65
"""Shares of the epochs at which warm-up and selection end, and in the chain the training anew of what was selected, and
the pruning of its channels."""

BETWEEN = (0.2,)
"""Strengths of selections beside the budget's: choices are few, and the sizes that they lead to far apart."""

SELECTION_STRENGTH = 1.0
"""Of the selection in the chain."""

LIGHT = ((0.1, 0.1), (0.3, 0.03), (0.3, 0.1))
"""Strengths of selection and pruning in chains towards larger networks."""


def ends(course: Course) -> tuple[int, int, int, int]:
    """Last epochs of warm-up, selection, training anew and pruning."""
    first, second, third, fourth = (
        max(1, round(share * course.budget.epochs)) for share in (WARMUP, SELECTED, FIRM, PRUNED)
    )
    return first, second, third, fourth


def search(course: Course, model: nn.Module, strength: float, warmup: int, last: int) -> SuperNet:
    """Train a network with alternatives up to, not including, epoch ``last``, and select from epoch ``warmup`` on."""
    nas = SuperNet(model, cost=COSTS, input_shape=course.shape, full_cost=True)
    optimizer = search_optimizers(nas)
    optimizer.nas = torch.optim.SGD(list(nas.nas_parameters()), lr=SELECTION_RATE)
    nas.train_net_only()
    course.fit(nas, 0, warmup, optimizer)
    nas.train_net_and_nas()
    course.fit(
        nas,
        warmup,
        last,
        optimizer,
        each=lambda epoch: training.anneal(nas, FALLING, epoch, last - warmup),
        regularizer=regularizers.BaseRegularizer("size", strength, relative=True),
    )
    return nas


def choose(course: Course, strength: float) -> tuple[nn.Module, dict[str, Any]]:
    """Select; the selected network, with random weights unless it started from a trained one, and what was chosen."""
    warmup, last, *_ = ends(course)
    start = in_place_of(course.start(), SEARCHED)
    if course.origin is not None:
        start_alternatives(start)
    nas = search(course, start, strength, warmup, last)
    found = nas.eval().export()
    details = {"chosen": {name: module.best_index for name, module in nas.named_choices()}}
    return found if course.origin is not None else restarted(found, course.seed), details


def span(course: Course, start: int) -> tuple[int, int]:
    """The cosine of what was selected: its own if it starts again at an epoch, else that of all epochs."""
    return (start if course.origin is None else 0), course.budget.epochs


def restarted(model: nn.Module, seed: int) -> nn.Module:
    """The same network with random weights."""
    torch.manual_seed(seed)
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return model


def select(strength: float, course: Course) -> Point:
    """SuperNet alone."""
    started = time.monotonic()
    found, details = choose(course, strength)
    start = ends(course)[1]
    course.fit(found, start, course.budget.epochs, plain_optimizer(found), span=span(course, start))
    return course.point("supernet", strength, found, started, **details)


def select_and_prune(selection: float, strength: float, course: Course, setting: float | str) -> Point:
    """SuperNet, then PIT, each at its strength: layers first, then channels, in the same time."""
    started = time.monotonic()
    found, details = choose(course, selection)
    _, start, first, last = ends(course)
    cosine = span(course, start)
    course.fit(found, start, first, plain_optimizer(found), span=cosine)
    price = regularizers.BaseRegularizer("size", strength, relative=True)
    found, _ = search_channels(course, found, price, first, last, span=cosine)
    course.fit(found, last, course.budget.epochs, plain_optimizer(found), span=cosine)
    return course.point("supernet-pit", setting, found, started, **details)


def selections(budget: Budget) -> list[Job]:
    """One search per strength."""
    strengths = sorted({*budget.strengths, *BETWEEN})
    return [Job("supernet", strength, partial(select, strength)) for strength in strengths]


def chains(budget: Budget) -> list[Job]:
    """One chain per strength of pruning, of the least three, and those of `LIGHT`."""
    found = [_chain(SELECTION_STRENGTH, strength, strength) for strength in budget.strengths[:3]]
    return [*found, *(_chain(selection, pruning, f"{selection:g}, {pruning:g}") for selection, pruning in LIGHT)]


def _chain(selection: float, pruning: float, setting: float | str) -> Job:
    return Job("supernet-pit", setting, partial(select_and_prune, selection, pruning, setting=setting))


if __name__ == "__main__":
    run("SuperNet on ResNet8", "pareto_supernet", [selections, chains])
