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
from pareto_course import COSTS, NAS_RATE, Course, plain_optimizer, price_of, search_optimizers
from pareto_points import Point

from plinio_deploy import PIT, regularizers

TARGETS = {"24 kB": (0.2, 0.7), "34 kB": (0.05, 0.2)}
"""Of the DUCCIO runs, and shares of the budget at which their warm-up and search end.

The first is given time to come to rest at its limit by itself. 34 kB are 44 % of the seed, the size that PLiNIO's paper
reports for PIT without a loss.
"""

STRENGTHS = 0.1, 0.2, 0.3, 1.0

PRICED = {"34 kB": (0.1, 0.5)}
"""Sizes of the runs in which multiply-accumulates have a price too, and the prices of size and of those, relative to
the seed's costs."""

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
    falling: bool = False,
) -> tuple[Any, float]:
    """Let PIT prune a network between two epochs; the exported network, and its size before it was made to fit.

    A limit is met after the search. With ``discrete`` the search counts living channels, as it has to where it is
    itself about what is built (DUCCIO), else the sum of the masks' continuous values. With ``falling`` the learning
    rate of the masks falls to nothing along a line: one channel of the last block is 0.6 to 0.9 kB, and masks that go
    on moving miss a limit by that much.
    """
    nas = PIT(model, cost=COSTS, input_shape=course.shape, full_cost=True, discrete_cost=discrete)
    nas.train_net_and_nas()
    optimizer = search_optimizers(nas)

    def settle_down(epoch: int) -> None:
        for group in optimizer.nas.param_groups:
            group["lr"] = NAS_RATE * (1 - epoch / (last - first))

    each = settle_down if falling else None
    course.fit(nas, first, last, optimizer, each=each, regularizer=regularizer, like=model)
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
    """Warm-up, search, fine-tuning.

    Args:
        method: as `Point.method`.
        setting: as `Point.setting`.
        pricing: makes the regularizer of the search.
        ends: shares of the budget at which warm-up and search end.
        limit: size that is met after the search; ``None`` for the size that it found.
        course: trains and judges.
    """
    started = time.monotonic()
    warmup, searched = course.ends(*ends)
    model = course.network()
    course.fit(model, 0, warmup, plain_optimizer(model))
    price = pricing()
    discrete = isinstance(price, regularizers.DUCCIO)
    model, size = search(course, model, price, warmup, searched, limit, discrete=discrete, falling=discrete)
    details: dict[str, Any] = {"accuracy_after_export": course.accuracy(model)}
    if limit is not None:
        details["size_bytes_before_settling"] = size
    details["epochs"] = searched + course.fit(model, searched, course.budget.epochs, plain_optimizer(model))
    return course.point(method, setting, model, started, **details)


def _job(
    method: str,
    setting: float | str,
    pricing: Callable[[], Any],
    ends: tuple[float, float] = (WARMUP, SEARCHED),
    limit: str | None = None,
) -> Job:
    return Job(method, setting, partial(prune, method, setting, pricing, ends, limit))


def strengths() -> list[Job]:
    """One search per strength."""
    return [_job("pit", strength, partial(price_of, size=strength)) for strength in STRENGTHS]


def targets() -> list[Job]:
    """One search towards each of `TARGETS`."""
    duccio = partial(regularizers.DUCCIO, task_loss=1.0)
    return [_job("pit-duccio", limit, partial(duccio, {"size": limit}), ends, limit) for limit, ends in TARGETS.items()]


def priced() -> list[Job]:
    """One search at each pair of prices in `PRICED`, then cut or filled to its size."""
    return [
        _job("pit-priced", limit, partial(price_of, size=size, macs=macs), limit=limit)
        for limit, (size, macs) in PRICED.items()
    ]


if __name__ == "__main__":
    run("PIT against uniform width scaling on ResNet8", "pareto_pit", [strengths, targets, priced])
