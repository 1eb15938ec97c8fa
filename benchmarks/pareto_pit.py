# SPDX-License-Identifier: Apache-2.0
"""PIT on ResNet8 against uniform width scaling, and DUCCIO towards a size in kB.

python benchmarks/pareto_pit.py --data DIR --budget small
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from pareto_common import Job, run
from pareto_course import COSTS, Course, plain_optimizer, search_optimizers
from pareto_points import Point

from plinio_deploy import PIT, regularizers

TARGETS = {"24 kB": (0.2, 0.7), "34 kB": (0.05, 0.2)}
"""Of the DUCCIO runs, and shares of the budget at which their warm-up and search end.

The first is given time to come to rest at its limit by itself. 34 kB are 44 % of the seed, the size that PLiNIO's paper
reports for PIT without a loss.
"""

STRENGTHS = 0.1, 0.2, 0.3, 1.0

WARMUP, SEARCHED = 0.05, 0.2
"""The same without a limit; the rest is fine-tuning. What is found early trains for longer."""


def search(
    course: Course,
    model: Any,
    regularizer: Any,
    first: int,
    last: int,
    limit: str | None = None,
) -> Any:
    """Let PIT prune a network between two epochs; the exported network, and its size before it was made to fit."""
    # A limit is about what is built: living channels are counted then, not the sum of the masks' continuous values.
    nas = PIT(model, cost=COSTS, input_shape=course.shape, full_cost=True, discrete_cost=limit is not None)
    nas.train_net_and_nas()
    course.fit(nas, first, last, search_optimizers(nas), regularizer=regularizer, like=model)
    found = nas.get_cost("size").item() / 8
    if limit is not None:
        nas.settle(limit, "size")
    return nas.export(), found


def prune(method: str, setting: float | str, course: Course) -> Point:
    """Warm-up, search, fine-tuning; a number is a strength, a text a target for DUCCIO."""
    started = time.monotonic()
    warmup, searched = course.ends(*(TARGETS[setting] if isinstance(setting, str) else (WARMUP, SEARCHED)))
    model = course.network()
    course.fit(model, 0, warmup, plain_optimizer(model))
    price: Any
    if isinstance(setting, str):
        price, limit = regularizers.DUCCIO({"size": setting}, task_loss=1.0), setting
    else:
        price, limit = regularizers.BaseRegularizer("size", setting, relative=True), None
    model, size = search(course, model, price, warmup, searched, limit)
    details: dict[str, Any] = {"accuracy_after_export": course.accuracy(model)}
    if limit is not None:
        details["size_bytes_before_settling"] = size
    details["epochs"] = searched + course.fit(model, searched, course.budget.epochs, plain_optimizer(model))
    return course.point(method, setting, model, started, **details)


def strengths() -> list[Job]:
    """One search per strength."""
    return [Job("pit", strength, partial(prune, "pit", strength)) for strength in STRENGTHS]


def targets() -> list[Job]:
    """One search towards each of `TARGETS`."""
    return [Job("pit-duccio", target, partial(prune, "pit-duccio", target)) for target in TARGETS]


if __name__ == "__main__":
    run("PIT against uniform width scaling on ResNet8", "pareto_pit", [strengths, targets])
