# SPDX-License-Identifier: Apache-2.0
"""PIT on ResNet8 against uniform width scaling, and DUCCIO towards a size in kB.

python benchmarks/pareto_pit.py --data DIR --budget small
"""

from __future__ import annotations

import time
from typing import Any

from pareto_common import COSTS, Course, Point, plain_optimizer, run, search_optimizers, uniform_widths

from plinio_deploy import PIT, regularizers

TARGET_KB = 24
"""Of the DUCCIO run: 31 % of the seed."""


def search(course: Course, model: Any, regularizer: Any, first: int, last: int) -> Any:
    """Let PIT prune a network between two epochs; the exported network."""
    nas = PIT(model, cost=COSTS, input_shape=course.shape, full_cost=True)
    nas.train_net_and_nas()
    course.fit(nas, first, last, search_optimizers(nas), regularizer=regularizer)
    return nas.export()


def prune(course: Course, method: str, setting: float | str, regularizer: Any) -> Point:
    """Warm-up, search, fine-tuning."""
    started = time.monotonic()
    warmup, searched, total = course.phases()
    model = course.network()
    course.fit(model, 0, warmup, plain_optimizer(model))
    found = search(course, model, regularizer, warmup, searched)
    right_after = course.accuracy(found)
    course.fit(found, searched, total, plain_optimizer(found))
    return course.point(method, setting, found, started, accuracy_after_export=right_after)


def strengths(course: Course) -> list[Point]:
    """One search per strength."""
    return [
        prune(course, "pit", strength, regularizers.BaseRegularizer("size", strength, relative=True))
        for strength in course.budget.strengths
    ]


def target(course: Course) -> list[Point]:
    """One search towards `TARGET_KB`."""
    duccio = regularizers.DUCCIO({"size": f"{TARGET_KB} kB"}, task_loss=1.0)
    point = prune(course, "pit-duccio", f"{TARGET_KB} kB", duccio)
    point.details["deviation_percent"] = round(100 * (point.size_bytes / (TARGET_KB * 1e3) - 1), 2)
    return [point]


if __name__ == "__main__":
    run("PIT against uniform width scaling on ResNet8", "pareto_pit", [uniform_widths, strengths, target])
