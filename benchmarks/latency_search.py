# SPDX-License-Identifier: Apache-2.0
"""PIT driven by the calibrated table of a target, against PIT driven by operations and by parameters.

python benchmarks/latency_search.py --target cortex-m4 --seeds 0 1
python benchmarks/latency_search.py --target cortex-m4 --data DIR   (npz files of images, e.g. CIFAR-10: ResNet8)

All searches start from the same warmed-up network, see the same epochs and are fine-tuned alike; what differs is the
cost. Each result becomes an integer network, firmware, and is measured; accuracy is that of the float network on test
images. Objectives are compared by measured cycles at equal accuracy, on the front of each.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plinio_deploy import PIT, cost, regularizers
from plinio_deploy.integerize import integerize
from plinio_deploy.pipeline.calibration import bench
from plinio_deploy.quantization import quantize
from plinio_deploy.recipe import Data
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.digits import DigitsNet, load_digits
from plinio_deploy.recipes.models import ResNet8
from plinio_deploy.search import training
from plinio_deploy.targets import luts, registry
from plinio_deploy.targets.calibration.prediction import predict
from plinio_deploy.targets.schema import Target

WARMUP, SEARCH, TUNE = 10, 20, 15
"""Epochs."""

LEARNING_RATE, NAS_RATE, BATCH = 3e-3, 1e-2, 64

GRANULARITY = 4
"""Channels live and die in fours: the kernels' blocks, and the same for every objective."""


@dataclass
class Point:
    """One searched network.

    Attributes:
        objective: the cost that drove the search; ``seed`` for the network without a search.
        strength: of the regularizer, relative to the seed's cost.
        seed: of everything random.
        accuracy: of the float network on the test images, in percent.
        measured: cycles of one inference (instructions, where the target has no cycles).
        predicted: by the table, in the same unit.
        macs: multiply-accumulates.
        weights: number of them.
    """

    objective: str
    strength: float
    seed: int
    accuracy: float
    measured: int
    predicted: float
    macs: int
    weights: int


class Course:
    """Data, training and judgement of one seed."""

    def __init__(self, data: Data, model: nn.Module, target: Target, seed: int, scale: float) -> None:
        self.data, self.model, self.seed = data, model, seed
        self.target, self.lut = bench.roomy(target), luts.load(target.name)
        self.scale = scale
        self.x, self.y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
        self.generator = torch.Generator().manual_seed(seed)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch."""
        for chosen in torch.split(torch.randperm(len(self.x), generator=self.generator), BATCH):
            if len(chosen) > 1:
                yield self.x[chosen], self.y[chosen]

    def fit(self, model: Any, optimizer: Any, epochs: int, regularizer: Any = None) -> None:
        """Train."""
        count = max(1, round(epochs * self.scale))
        for epoch in range(count):
            training.train_epoch(
                model,
                self.batches(),
                nn.functional.cross_entropy,
                optimizer,
                regularizer=regularizer,
                epoch=epoch,
                n_epochs=count,
            )

    def adam(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of weights outside a search."""
        return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)

    @torch.no_grad()
    def judge(self, model: nn.Module, objective: str, strength: float) -> Point:
        """Accuracy, and what the network takes on the target."""
        model.eval()
        answers = torch.cat([model(x).argmax(1) for x in torch.split(torch.from_numpy(self.data.test.x), 256)])
        accuracy = 100.0 * float((answers == torch.from_numpy(self.data.test.y)).float().mean())
        network = integerize(quantize(model, self.x[:1]).calibrate([self.x[:256]]), "searched")
        run = bench.run(network, self.target)
        measured = run.instructions if run.cycles is None else run.cycles
        macs = sum(network.macs(op) for op in network.ops)
        weights = sum(p.numel() for p in model.parameters() if p.dim() > 1)
        predicted = round(predict(self.lut, network).total)
        point = Point(objective, strength, self.seed, round(accuracy, 2), measured, predicted, macs, weights)
        sys.stderr.write(f"{point}\n")
        return point

    def search(self, start: nn.Module, objective: str, price: cost.Cost, strength: float) -> Point:
        """One search from a warmed-up network."""
        self.generator.manual_seed(self.seed)
        torch.manual_seed(self.seed)
        nas = PIT(
            copy.deepcopy(start),
            cost={objective: price},
            input_example=self.x[:1],
            full_cost=True,
            granularity=GRANULARITY,
        )
        regularizer = regularizers.BaseRegularizer(objective, strength, relative=True)
        self.fit(nas, training.optimizers(nas, net_lr=LEARNING_RATE, nas_lr=NAS_RATE), SEARCH, regularizer)
        found = nas.export()
        self.fit(found, self.adam(found), TUNE)
        return self.judge(found, objective, strength)


def front(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Accuracies and measured cycles that no other point beats in both, by cycles."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point.measured, -point.accuracy)):
        if not kept or point.accuracy > kept[-1][0]:
            kept.append((point.accuracy, float(point.measured)))
    return kept


def at_accuracy(kept: Sequence[tuple[float, float]], accuracy: float) -> float | None:
    """Cycles of a front at an accuracy, linear between points; None above the best one."""
    if not kept or accuracy > kept[-1][0]:
        return None
    if accuracy <= kept[0][0]:
        return kept[0][1]
    for (low, few), (high, many) in pairwise(kept):
        if accuracy <= high:
            return few + (many - few) * (accuracy - low) / (high - low)
    return None


def compare(points: Sequence[Point], objectives: Sequence[str]) -> dict[str, Any]:
    """Measured cycles of each objective at the accuracies that all of them reach, and what latency saves."""
    fronts = {name: front([point for point in points if point.objective == name]) for name in objectives}
    if not all(fronts.values()):
        return {}
    low = max(kept[0][0] for kept in fronts.values())
    high = min(kept[-1][0] for kept in fronts.values())
    rows = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        accuracy = low + share * (high - low)
        cycles = {name: at_accuracy(kept, accuracy) for name, kept in fronts.items()}
        ours = cycles["latency"]
        others = {name: value for name, value in cycles.items() if name != "latency" and value}
        saved = {name: round(100 * (1 - ours / value), 1) for name, value in others.items()} if ours else {}
        rows.append({"accuracy": round(accuracy, 2), "cycles": cycles, "saved_percent": saved})
    saved = {
        name: round(sum(row["saved_percent"].get(name, 0.0) for row in rows) / len(rows), 1)
        for name in objectives
        if name != "latency"
    }
    return {"at_equal_accuracy": rows, "mean_saved_percent": saved}


def main() -> None:
    """Train everything, measure everything, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--data", type=Path, help="folder of npz files of images (then ResNet8); left out: digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.3, 1.0, 2.0, 4.0])
    parser.add_argument("--epochs-scale", type=float, default=1.0, help="multiplies all numbers of epochs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency_search.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    target = registry.load(given.target)
    table = luts.load(given.target)
    prices: Mapping[str, cost.Cost] = {
        "latency": cost.latency(given.target),
        "ops": cost.ops_no_bias,
        "params": cost.params_bit,
    }
    started, points = time.monotonic(), list[Point]()
    for seed in given.seeds:
        torch.manual_seed(seed)
        data = load_digits() if given.data is None else npz.load(given.data, val_fraction=0.02)
        model: nn.Module = DigitsNet() if given.data is None else ResNet8()
        course = Course(data, model, target, seed, given.epochs_scale)
        course.fit(model, course.adam(model), WARMUP)
        whole = copy.deepcopy(model)
        course.fit(whole, course.adam(whole), SEARCH + TUNE)
        points.append(course.judge(whole, "seed", 0.0))
        for objective, price in prices.items():
            for strength in given.strengths:
                points.append(course.search(model, objective, price, strength))
                document = {
                    "benchmark": "latency_search",
                    "data": "digits" if given.data is None else given.data.name,
                    "target": given.target,
                    "unit": table.unit,
                    "source": table.source,
                    "seeds": given.seeds,
                    "strengths": given.strengths,
                    "epochs_scale": given.epochs_scale,
                    "granularity": GRANULARITY,
                    "torch": torch.__version__.split("+")[0],
                    "seconds": round(time.monotonic() - started),
                    "comparison": compare(points, list(prices)),
                    "points": [asdict(point) for point in points],
                }
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
