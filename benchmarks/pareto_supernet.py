# SPDX-License-Identifier: Apache-2.0
"""SuperNet, and SuperNet followed by PIT, on ResNet8 against uniform width scaling.

Each 3x3 convolution in the residual blocks gets the alternatives of the recipe `ic`: itself, a depthwise-separable one,
a 1x1, and the identity where the shape stays.

    python benchmarks/pareto_supernet.py --data DIR --budget small --reuse benchmarks/results/pareto_pit.json
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from pareto_common import COSTS, Budget, Course, Job, Point, plain_optimizer, run, search_optimizers, uniform_widths
from pareto_pit import search as search_channels

from plinio_deploy import SuperNet, regularizers
from plinio_deploy.recipes.ic import SEARCHED
from plinio_deploy.recipes.supernets import in_place_of
from plinio_deploy.search import schedules, training


def choose(course: Course, strength: float, first: int, warmup: int, last: int) -> tuple[Any, dict[str, Any]]:
    """Train the supernet, then select; the exported network and what was chosen."""
    nas = SuperNet(in_place_of(course.network(), SEARCHED), cost=COSTS, input_shape=course.shape, full_cost=True)
    optimizer = search_optimizers(nas)
    nas.train_net_only()
    course.fit(nas, first, warmup, optimizer)
    nas.train_net_and_nas()
    falling = schedules.exponential(5.0, 0.2)
    course.fit(
        nas,
        warmup,
        last,
        optimizer,
        each=lambda epoch: training.anneal(nas, falling, epoch, last - warmup),
        regularizer=regularizers.BaseRegularizer("size", strength, relative=True),
    )
    chosen = {name: module.best_index for name, module in nas.named_choices()}
    return nas.export(), {"chosen": chosen}


def select(strength: float, course: Course) -> Point:
    """SuperNet alone."""
    started = time.monotonic()
    warmup, searched, total = course.phases()
    found, details = choose(course, strength, 0, warmup, searched)
    right_after = course.accuracy(found)
    course.fit(found, searched, total, plain_optimizer(found))
    return course.point("supernet", strength, found, started, accuracy_after_export=right_after, **details)


def select_and_prune(strength: float, course: Course) -> Point:
    """SuperNet at the budget's least strength, then PIT at this one: layers first, then channels, in the same time."""
    started = time.monotonic()
    warmup, searched, total = course.phases()
    half = (warmup + searched) // 2
    found, details = choose(course, min(course.budget.strengths), 0, warmup, half)
    price = regularizers.BaseRegularizer("size", strength, relative=True)
    found = search_channels(course, found, price, half, searched)
    course.fit(found, searched, total, plain_optimizer(found))
    return course.point("supernet-pit", strength, found, started, **details)


def selections(budget: Budget) -> list[Job]:
    """One search per strength."""
    return [Job("supernet", strength, partial(select, strength)) for strength in budget.strengths]


def chains(budget: Budget) -> list[Job]:
    """One chain per strength."""
    return [Job("supernet-pit", strength, partial(select_and_prune, strength)) for strength in budget.strengths]


if __name__ == "__main__":
    run("SuperNet on ResNet8", "pareto_supernet", [uniform_widths, selections, chains])
