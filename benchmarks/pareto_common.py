# SPDX-License-Identifier: Apache-2.0
"""What the Pareto benchmarks share: seeds and narrowed ones, the command line, and the JSON they leave.

With ``--from-seed`` searched networks start from the trained seed, for as many epochs as it has had, and with
``--taught`` they also learn from its answers besides the labels; the seed and its narrowed copies never do. They are
then set against a seed that was trained for the epochs of both, too.
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
from pareto_points import LONGER, Point, compare


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


def longer(budget: Budget) -> list[Job]:  # noqa: ARG001 - all plans are called alike
    """The seed trained for the epochs of a seed and of what starts from it together."""
    return [Job(LONGER, 2, _longer)]


def _longer(course: Course) -> Point:
    started = time.monotonic()
    return course.point(LONGER, 2, course.trained(2 * course.budget.epochs), started)


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
    parser.add_argument("--from-seed", action="store_true", help="searched networks start from the trained seed")
    parser.add_argument("--taught", action="store_true", help="with --from-seed: and learn from its answers")
    parser.add_argument("--cache", type=Path, help="folder that keeps trained seeds")
    parser.add_argument("--only", nargs="+", help="networks such as width-1.0, pit-0.2 or supernet-0.3")
    parser.add_argument(
        "--reuse", type=Path, nargs="*", default=[], help="files with points that need no training again"
    )
    default = Path("benchmarks/results") / f"{name}.json"
    parser.add_argument("--out", type=Path, default=default, help="where the JSON goes")
    return parser.parse_args()


def run(description: str, name: str, plans: Sequence[Callable[[Budget], list[Job]]]) -> None:
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
    wanted = [uniform_widths, *([longer] if given.from_seed else []), *plans]
    jobs = [job for plan in wanted for job in plan(budget) if given.only is None or job.key in given.only]
    named = {
        "data": given.data.name,
        "budget": {"name": given.budget, **asdict(budget)},
        "from_seed": given.from_seed,
        "taught": given.taught,
    }
    conditions = json.loads(json.dumps(named))
    known = [point for path in (given.out, *given.reuse) for point in _read(path, conditions)]
    points: list[Point] = []
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        course = Course(given.data, budget, seed, given.device, given.cache)
        for job in jobs:
            done = [p for p in known if (p.method, p.setting, p.seed) == (job.method, job.setting, seed)]
            if not done:
                done = [job.work(course if job.method in ("width", LONGER) else _searching(course, given))]
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


def _searching(course: Course, given: argparse.Namespace) -> Course:
    """The course of searched networks."""
    if given.from_seed:
        course = course.continued(course.trained())
    return course.taught(course.trained()) if given.taught else course


def _read(path: Path, conditions: dict[str, Any]) -> list[Point]:
    """Points of an earlier run under the same conditions; none if there was no such run."""
    if not path.is_file():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if any(document.get(key) != value for key, value in conditions.items()):
        say(f"{path}: other data or another budget; its points are not used")
        return []
    return [Point(**point) for point in document["points"]]
