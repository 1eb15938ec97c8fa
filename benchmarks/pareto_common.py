# SPDX-License-Identifier: Apache-2.0
"""What the Pareto benchmarks share: seeds and narrowed ones, the command line, and the JSON they leave.

Narrowed seeds are what searches are held against.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pareto_course import BUDGETS, Budget, Course, plain_optimizer, say
from pareto_points import Point, compare


@dataclass(frozen=True)
class Job:
    """One network to train.

    Attributes:
        method: as `Point.method`.
        setting: as `Point.setting`.
        work: trains and judges it.
    """

    method: str
    setting: float | str
    work: Callable[[Course], Point]

    @property
    def key(self) -> str:
        """What ``--only`` calls it."""
        return f"{self.method}-{self.setting}"


def uniform_widths(budget: Budget) -> list[Job]:
    """The seed and its uniformly narrowed copies, each trained for the whole budget."""
    return [Job("width", width, partial(_narrowed, width)) for width in budget.widths]


def _narrowed(width: float, course: Course) -> Point:
    started = time.monotonic()
    if width == 1.0:
        return course.point("width", width, course.trained(), started)
    model = course.network(width)
    course.fit(model, 0, course.budget.epochs, plain_optimizer(model))
    return course.point("width", width, model, started)


def arguments(description: str, name: str) -> argparse.Namespace:
    """What both benchmarks take on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="folder of npz files, e.g. CIFAR-10 or Fashion-MNIST")
    parser.add_argument("--budget", choices=sorted(BUDGETS), default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the budget's")
    parser.add_argument("--images", type=int, help="training images, instead of the budget's")
    parser.add_argument("--test-images", type=int, help="test images, instead of the budget's")
    parser.add_argument(
        "--equal-compute",
        action="store_true",
        help="networks with fewer multiply-accumulates train for more epochs",
    )
    parser.add_argument("--cache", type=Path, help="folder that keeps trained seeds")
    parser.add_argument("--only", nargs="+", help="networks such as width-1.0, pit-0.2 or supernet-0.3")
    parser.add_argument(
        "--reuse", type=Path, nargs="*", default=[], help="files with points that need no training again"
    )
    default = Path("benchmarks/results") / f"{name}.json"
    parser.add_argument("--out", type=Path, default=default, help="where the JSON goes")
    return parser.parse_args()


def run(description: str, name: str, plans: Sequence[Callable[[], list[Job]]]) -> None:
    """Train everything for every seed, and write the JSON after each network; the same command again goes on.

    Args:
        description: for ``--help``.
        name: of the benchmark and its file.
        plans: what to train besides seeds and narrowed ones.
    """
    given = arguments(description, name)
    torch.set_num_threads(given.threads)
    budget = BUDGETS[given.budget]
    budget = replace(
        budget,
        epochs=given.epochs or budget.epochs,
        images=given.images or budget.images,
        test_images=given.test_images or budget.test_images,
    )
    planned = [*uniform_widths(budget), *(job for plan in plans for job in plan())]
    jobs = [job for job in planned if given.only is None or job.key in given.only]
    named = {
        "data": given.data.name,
        "budget": {"name": given.budget, **asdict(budget)},
        "equal_compute": given.equal_compute,
    }
    conditions = json.loads(json.dumps(named))
    known = [point for path in (given.out, *given.reuse) for point in _read(path, conditions)]
    points: list[Point] = []
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        course = Course(given.data, budget, seed, given.device, given.cache, given.equal_compute)
        for job in jobs:
            done = [p for p in known if (p.method, p.setting, p.seed) == (job.method, job.setting, seed)]
            if not done:
                done = [job.work(course)]
            points.append(done[0])
            document = {
                "benchmark": name,
                **conditions,
                "train_images": len(course.train),
                "test_images": len(course.test),
                "seeds": given.seeds,
                "torch": torch.__version__.split("+")[0],
                "device": given.device,
                "threads": given.threads,
                "seconds": round(sum(point.seconds for point in points), 1),
                "comparison": compare(points),
                "points": [asdict(point) for point in points],
            }
            given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _read(path: Path, conditions: dict[str, Any]) -> list[Point]:
    """Points of an earlier run under the same conditions; none if there was no such run."""
    if not path.is_file():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if any(document.get(key) != value for key, value in conditions.items()):
        say(f"{path}: other data or another budget; its points are not used")
        return []
    return [Point(**point) for point in document["points"]]
