# SPDX-License-Identifier: Apache-2.0
"""PIT on ResNet8 against uniform width scaling, and DUCCIO towards a size in kB.

python benchmarks/pareto_pit.py --data DIR --budget small
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pareto_common import Job, run
from pareto_course import COSTS, Course, plain_optimizer, price_of, search_optimizers
from pareto_points import Point

from plinio_deploy import PIT, regularizers

TARGETS = {"24 kB": (0.2, 0.7), "34 kB": (0.05, 0.2)}
"""Of the DUCCIO runs, and shares of the budget at which their warm-up and search end.

The first is given time to come to rest at its limit by itself. 34 kB are 44 % of the seed, the size that PLiNIO's paper
reports for PIT without a loss.
"""

STRENGTHS = 0.1, 0.2, 0.3, 1.0

PRICED = {"34 kB": (0.1, 0.5)}
"""Of the runs that multiply-accumulates rank channels in too: prices of size and of those, relative to the seed's."""

WARMUP, SEARCHED = 0.05, 0.2
"""The shares without DUCCIO; the rest is fine-tuning. What is found early trains for longer."""


def search(
    course: Course,
    model: Any,
    regularizer: Any,
    first: int,
    last: int,
    limit: str | None = None,
    *,
    discrete: bool = False,
) -> tuple[Any, float]:
    """Let PIT prune a network between two epochs; the exported network, and its size before it was made to fit.

    A limit is met after the search. With ``discrete`` the search counts living channels, as it has to where it is
    itself about what is built (DUCCIO), else the sum of the masks' continuous values.
    """
    nas = PIT(model, cost=COSTS, input_shape=course.shape, full_cost=True, discrete_cost=discrete)
    nas.train_net_and_nas()
    course.fit(nas, first, last, search_optimizers(nas), regularizer=regularizer, like=model)
    nas.discrete_cost = True
    found = nas.get_cost("size").item() / 8
    if limit is not None:
        nas.settle(limit, "size")
    return nas.export(), found


def prune(
    method: str,
    setting: float | str,
    pricing: Callable[[], Any],
    ends: tuple[float, float],
    limit: str | None,
    course: Course,
) -> Point:
    """Warm-up, search, fine-tuning."""
    started = time.monotonic()
    warmup, searched = course.ends(*ends)
    model = course.network()
    course.fit(model, 0, warmup, plain_optimizer(model))
    price = pricing()
    discrete = isinstance(price, regularizers.DUCCIO)
    model, size = search(course, model, price, warmup, searched, limit, discrete=discrete)
    details: dict[str, Any] = {"accuracy_after_export": course.accuracy(model)}
    if limit is not None:
        details["size_bytes_before_settling"] = size
    details["epochs"] = searched + course.fit(model, searched, course.budget.epochs, plain_optimizer(model))
    return course.point(method, setting, model, started, **details)


def strengths() -> list[Job]:
    """One search per strength."""
    found = []
    for strength in STRENGTHS:
        pricing = partial(price_of, size=strength)
        found.append(Job("pit", strength, partial(prune, "pit", strength, pricing, (WARMUP, SEARCHED), None)))
    return found


def targets() -> list[Job]:
    """One search towards each of `TARGETS`."""
    found = []
    for limit, ends in TARGETS.items():
        pricing = partial(regularizers.DUCCIO, {"size": limit}, task_loss=1.0)
        found.append(Job("pit-duccio", limit, partial(prune, "pit-duccio", limit, pricing, ends, limit)))
    return found


def priced() -> list[Job]:
    """One search at each price of `PRICED`, then cut or filled to its size."""
    found = []
    for limit, (size, macs) in PRICED.items():
        pricing = partial(price_of, size=size, macs=macs)
        found.append(Job("pit-priced", limit, partial(prune, "pit-priced", limit, pricing, (WARMUP, SEARCHED), limit)))
    return found


if __name__ == "__main__":
    run("PIT against uniform width scaling on ResNet8", "pareto_pit", [strengths, targets, priced])
