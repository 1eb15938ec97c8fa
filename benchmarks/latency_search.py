# SPDX-License-Identifier: Apache-2.0
"""PIT driven by the calibrated table of a target, against PIT driven by operations and by parameters.

python benchmarks/latency_search.py --target cortex-m4 --seeds 0 1 2
python benchmarks/latency_search.py --target cortex-m4 --data DIR --start FILE   (images such as CIFAR-10: ResNet8)

Each search is given a budget in its own unit, and every budget is that of one and the same network: the seed, narrowed
everywhere to the same share of its channels. All searches start from the same trained network, see the same epochs, are
brought to their budget exactly (`PIT.settle`) and fine-tuned alike; what differs is the cost. No objective is told how
many channels a kernel works on; the table knows it. Each result becomes an integer network and firmware, and is
measured; accuracy is that of the float network on images that no training saw. Objectives are compared by measured
cycles at equal accuracy, on the line through the means over the seeds.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plinio_deploy import PIT, cost, regularizers
from plinio_deploy.integerize import integerize
from plinio_deploy.pipeline.calibration import bench
from plinio_deploy.quantization import quantize
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.augment import shift_and_mirror
from plinio_deploy.recipes.digits import DigitsNet, load_digits
from plinio_deploy.recipes.models import ResNet8
from plinio_deploy.search import training
from plinio_deploy.search.methods.pit.masks import FeatureMask
from plinio_deploy.targets import luts, registry
from plinio_deploy.targets.calibration.prediction import predict
from plinio_deploy.targets.schema import Target

FIRST, SEARCH, TUNE = 20, 8, 12
"""Epochs."""

LEARNING_RATE, NAS_RATE, BATCH = 5e-3, 1e-2, 64

WIDTHS = (0.4, 0.5, 0.65, 0.8)
"""Shares of the seed's channels; what a network so narrowed costs is a budget."""

TASK_LOSS, GROWTH = 1.0, 1.3
"""Of `DUCCIO`."""


@dataclass
class Point:
    """One searched network.

    Attributes:
        objective: the cost that drove the search; ``seed`` for the network without a search.
        width: share of the seed's channels whose cost is the budget.
        seed: of everything random.
        accuracy: of the float network on the test images, in percent.
        channels: of each layer with weights.
        measured: cycles of one inference (instructions, where the target has no cycles).
        predicted: by the table, in the same unit.
        macs: multiply-accumulates.
        weights: number of them.
    """

    objective: str
    width: float
    seed: int
    accuracy: float
    measured: int
    predicted: float
    macs: int
    weights: int
    channels: list[int]


@dataclass
class Images:
    """What is trained on, and what accuracy is counted on; ``augmented``: shifted and mirrored in training."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    augmented: bool = False

    @classmethod
    def digits(cls) -> Images:
        """Validation images decide nothing here, so they are tested on as well."""
        data = load_digits()
        x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
        tests = [torch.from_numpy(np.concatenate(p)) for p in ((data.val.x, data.test.x), (data.val.y, data.test.y))]
        return cls(x, y, tests[0], tests[1])

    @classmethod
    def folder(cls, folder: Path, training_images: int | None, test_images: int | None) -> Images:
        """Of a folder of npz files, the first ones."""
        data = npz.load(folder, val_fraction=0.02)
        x, y = (torch.from_numpy(part[:training_images]) for part in (data.train.x, data.train.y))
        test_x, test_y = (torch.from_numpy(part[:test_images]) for part in (data.test.x, data.test.y))
        return cls(x, y, test_x, test_y, augmented=True)


class Course:
    """Data, training and judgement of one seed."""

    def __init__(self, images: Images, target: Target, seed: int, scale: float) -> None:
        self.images, self.seed, self.scale = images, seed, scale
        self.target, self.lut = bench.roomy(target), luts.load(target.name)
        self.generator = torch.Generator().manual_seed(seed)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch."""
        for chosen in torch.split(torch.randperm(len(self.images.x), generator=self.generator), BATCH):
            if len(chosen) > 1:
                x = self.images.x[chosen]
                yield shift_and_mirror(x, self.generator) if self.images.augmented else x, self.images.y[chosen]

    def fit(self, model: Any, optimizer: Any, epochs: int, regularizer: Any = None) -> None:
        """Train; rates fall to nothing along a cosine where nothing is searched."""
        count = max(1, round(epochs * self.scale))
        for epoch in range(count):
            if regularizer is None:
                for group in optimizer.param_groups:
                    group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * epoch / count))
            training.train_epoch(
                model,
                self.batches(),
                nn.functional.cross_entropy,
                optimizer,
                regularizer=regularizer,
                epoch=epoch + 1,
                n_epochs=count,
            )

    def train(self, model: nn.Module, epochs: int) -> None:
        """Train what is not searched."""
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
        self.fit(model, optimizer, epochs)

    @torch.no_grad()
    def judge(self, model: nn.Module, objective: str, width: float) -> Point:
        """Accuracy, and what the network takes on the target."""
        model.eval()
        answers = torch.cat([model(x).argmax(1) for x in torch.split(self.images.test_x, 256)])
        accuracy = 100.0 * float((answers == self.images.test_y).float().mean())
        few = self.images.x[:256]
        network = integerize(quantize(model, few[:1]).calibrate([few]), "searched")
        run = bench.run(network, self.target)
        measured = run.instructions if run.cycles is None else run.cycles
        layers = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        point = Point(
            objective,
            round(width, 3),
            self.seed,
            round(accuracy, 2),
            measured,
            round(predict(self.lut, network).total),
            sum(network.macs(op) for op in network.ops),
            sum(layer.numel() for layer in layers),
            [len(layer) for layer in layers],
        )
        sys.stderr.write(f"{point}\n")
        return point

    def search(self, start: nn.Module, prices: Mapping[str, cost.Cost], objective: str, width: float) -> Point:
        """One search from a trained network."""
        self.generator.manual_seed(self.seed)
        torch.manual_seed(self.seed)
        nas = PIT(copy.deepcopy(start), cost=dict(prices), input_example=self.images.x[:1], full_cost=True)
        budget = narrowed(nas, objective, width)
        regularizer = regularizers.DUCCIO({objective: budget}, TASK_LOSS, growth=GROWTH, check=False)
        self.fit(nas, training.optimizers(nas, net_lr=LEARNING_RATE, nas_lr=NAS_RATE), SEARCH, regularizer)
        nas.settle(budget, objective)
        found = nas.export()
        self.train(found, TUNE)
        return self.judge(found, objective, width)


@torch.no_grad()
def narrowed(nas: PIT, objective: str, width: float) -> float:
    """What the network would cost with the same share of channels in every mask; the masks stay as they are."""
    masks = [mask for mask in nas.modules() if isinstance(mask, FeatureMask) and mask.alpha.requires_grad]
    before = [mask.alpha.clone() for mask in masks]
    for mask in masks:
        living = round(width * len(mask.alpha)) - int(mask.kept.sum())
        free = torch.cumsum(1 - mask.kept, 0) <= living
        mask.alpha.copy_(torch.where(mask.kept.bool() | free, 1.0, 0.0))
    nas.discrete_cost = True
    found = float(nas.get_cost(objective))
    nas.discrete_cost = False
    for mask, alpha in zip(masks, before, strict=True):
        mask.alpha.copy_(alpha)
    return found


def means(points: Sequence[Point], objective: str) -> list[tuple[float, float]]:
    """Accuracy and measured cycles of an objective, means over the seeds, for each budget that all seeds have."""
    own = [point for point in points if point.objective == objective]
    seeds = {point.seed for point in own}
    found = []
    for width in sorted({point.width for point in own}):
        group = [point for point in own if point.width == width]
        if {point.seed for point in group} == seeds:
            found.append((fmean(p.accuracy for p in group), fmean(p.measured for p in group)))
    return found


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Accuracies and cycles that no other point beats in both, by cycles."""
    kept: list[tuple[float, float]] = []
    for accuracy, cycles in sorted(points, key=lambda point: (point[1], -point[0])):
        if not kept or accuracy > kept[-1][0]:
            kept.append((accuracy, cycles))
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
    fronts = {name: front(means(points, name)) for name in objectives}
    if not all(fronts.values()):
        return {}
    low = max(kept[0][0] for kept in fronts.values())
    high = min(kept[-1][0] for kept in fronts.values())
    if high < low:
        return {}
    rows = list[dict[str, Any]]()
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        accuracy = low + share * (high - low)
        cycles = {name: at_accuracy(kept, accuracy) for name, kept in fronts.items()}
        ours = cycles["latency"]
        others = {name: value for name, value in cycles.items() if name != "latency" and value}
        saved = {name: round(100 * (1 - ours / value), 1) for name, value in others.items()} if ours else {}
        whole = {name: round(value) for name, value in cycles.items() if value}
        rows.append({"accuracy": round(accuracy, 2), "cycles": whole, "saved_percent": saved})
    saved = {
        name: round(sum(row["saved_percent"].get(name, 0.0) for row in rows) / len(rows), 1)
        for name in objectives
        if name != "latency"
    }
    return {"at_equal_accuracy": rows, "mean_saved_percent": saved}


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--data", type=Path, help="folder of npz files of images (then ResNet8); left out: digits")
    parser.add_argument("--images", type=int, help="of the folder to train on; all of them by default")
    parser.add_argument("--test-images", type=int, help="of the folder to test on; all of them by default")
    parser.add_argument("--start", type=Path, help="trained weights to start from (a state dict of ResNet8)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--widths", type=float, nargs="+", default=list(WIDTHS))
    parser.add_argument("--epochs-scale", type=float, default=1.0, help="multiplies all numbers of epochs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency_search.json"))
    return parser.parse_args()


def main() -> None:
    """Train everything, measure everything, write the JSON."""
    given = arguments()
    torch.set_num_threads(given.threads)
    target = registry.load(given.target)
    table = luts.load(given.target)
    prices: Mapping[str, cost.Cost] = {
        "latency": cost.latency(given.target),
        "ops": cost.ops_no_bias,
        "params": cost.params_bit,
    }
    images = Images.digits() if given.data is None else Images.folder(given.data, given.images, given.test_images)
    started, points = time.monotonic(), list[Point]()
    for seed in given.seeds:
        torch.manual_seed(seed)
        model: nn.Module = DigitsNet() if given.data is None else ResNet8()
        course = Course(images, target, seed, given.epochs_scale)
        if given.start is not None:
            model.load_state_dict(torch.load(given.start, weights_only=True))
        else:
            course.train(model, FIRST)
        points.append(course.judge(model, "seed", 1.0))
        for width in given.widths:
            points += [course.search(model, prices, objective, width) for objective in prices]
            document = {
                "benchmark": "latency_search",
                "data": "digits" if given.data is None else given.data.name,
                "images": [len(images.x), len(images.test_x)],
                "trained_before": given.start is not None,
                "target": given.target,
                "unit": table.unit,
                "source": table.source,
                "seeds": given.seeds,
                "widths": [round(share, 3) for share in given.widths],
                "epochs_scale": given.epochs_scale,
                "torch": torch.__version__.split("+")[0],
                "seconds": round(time.monotonic() - started),
                "comparison": compare(points, list(prices)),
                "points": [asdict(point) for point in points],
            }
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
