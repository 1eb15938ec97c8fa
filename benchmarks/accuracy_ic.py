# SPDX-License-Identifier: Apache-2.0
"""Accuracy and size of ResNet8 in mixed precision, judged by the integer network, against a seed trained as long.

One float seed is trained; each row then takes the same further epochs: conversion, search if there is one, fine-tuning.

    python benchmarks/accuracy_ic.py --data DIR --json

PLiNIO's rows on the same data and budget (7 epochs of search at 1e-6 on params_bit, 4 of fine-tuning, batch 128, seed
of 78.88 %): per layer (2, 4, 8) 78.63 % at 29.9 kB; per channel (0, 2, 4, 8) 11.0 % after the search and 40.9 % at the
end, 35.2 kB; 54.8 % and 42.2 % right after conversion at 8/8.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from integer_judgement import integer_accuracy, weights_bytes, widths
from pareto_course import BUDGETS, Course, plain_optimizer, price_of, say, search_optimizers
from pareto_pit import search as search_channels
from pareto_supernet import SELECTION_ENDS, choose
from pareto_supernet import search as search_layers
from torch import nn

from plinio_deploy import MPS, MPSType, cost, get_default_qinfo, regularizers
from plinio_deploy.integerize import integerize
from plinio_deploy.quantization import QuantConfig, QuantNetwork, quantize
from plinio_deploy.recipes.ic import SEARCHED
from plinio_deploy.recipes.supernets import in_place_of, start_alternatives

SEARCH_EPOCHS, TUNE_EPOCHS = 4, 7
"""As many together as PLiNIO's 7 and 4: few bits are learned in fine-tuning, not while they still change."""

WARM_UP, SELECTED, PRUNED, MIXED, CHAIN_EPOCHS = 1, 4, 8, 12, 24
"""Last epochs of a chain's phases, fine-tuning last: as many together as the seed has had."""

SELECTION_STRENGTH = 0.2
"""Of the selection of layers in a chain, relative to the seed's cost."""

FRESH = 0.32, 0.8, 0.86
"""Shares of the compute at which a chain from random weights ends what follows the selection of layers: pruning,
training of what is left, and the search of widths; fine-tuning is last."""

FRESH_STRENGTHS = 0.4, 0.15
"""Of the selection of layers in a chain from random weights: prices of the size and of the multiply-accumulates."""

KEPT, FRESH_KEPT = 0.92, 0.98
"""Shares of the selected weights that the chains' pruning of channels leaves."""


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: what was done.
        setting: strength, or bits.
        accuracy: of the integer network on the test images, in percent.
        after_search: the same before fine-tuning.
        weights_bytes: packed weights.
        macs: of the integer network.
        w_bits: how many output channels have which width, 0 for those that are gone (unless layers were exchanged).
        seconds: wall time.
    """

    name: str
    setting: str
    accuracy: float
    after_search: float
    weights_bytes: int
    macs: int
    w_bits: dict[str, int]
    seconds: float


class Task:
    """Data, seed, and the further epochs that every row gets.

    Args:
        given: command line.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        budget = replace(
            BUDGETS["full"], epochs=given.epochs, images=given.images, test_images=given.test_images, batch=128
        )
        self.course = Course(given.data, budget, given.seed, given.device, given.cache)
        self.given = given
        self.seed_model = self.course.trained()
        self.seed_accuracy = self.course.accuracy(self.seed_model)
        say(f"seed: {self.seed_accuracy:.2f} %")
        weighted = [m for m in self.seed_model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        self.channels = sum(len(module.weight) for module in weighted)

    def further(self, epochs: int = SEARCH_EPOCHS + TUNE_EPOCHS, draw: int = 0) -> Course:
        """The same data under a cosine of its own over the further epochs; random numbers are another draw's."""
        course = copy.copy(self.course)
        course.budget = replace(self.course.budget, epochs=epochs)
        course.generator = torch.Generator().manual_seed(self.given.seed + 1 + draw)
        torch.manual_seed(self.given.seed + 1 + draw)
        return course

    def afresh(self) -> Course:
        """The same data and budget as the seed's, in compute."""
        course = copy.copy(self.course)
        course.equal_compute = True
        return course

    def calibration(self) -> list[Any]:
        """Batches for clips and biases."""
        return list(torch.split(self.course.images[:1024], 256))

    def examples(self) -> list[tuple[Any, Any]]:
        """Images and labels from which precisions are ranked."""
        return [(self.course.images[:1024], self.course.labels[:1024])]

    def row(
        self, name: str, setting: str, qnet: QuantNetwork, after: float, started: float, *, same_layers: bool = True
    ) -> Row:
        """Integerize and judge."""
        network = integerize(qnet.eval(), "ic")
        accuracy = integer_accuracy(network, self.course)
        seconds = round(time.monotonic() - started, 1)
        macs = sum(network.macs(op) for op in network.ops)
        found = Row(
            name,
            setting,
            accuracy,
            after,
            weights_bytes(network),
            macs,
            widths(network, self.channels if same_layers else None),
            seconds,
        )
        say(
            f"{name:20} {setting:>12} {found.weights_bytes / 1e3:7.2f} kB {accuracy:6.2f} % (before tuning {after:.2f})"
        )
        return found


def fixed(task: Task, bits: int, activations: int, epochs: int) -> Row:
    """One width everywhere; no epoch is mere conversion."""
    started = time.monotonic()
    config = QuantConfig(w_bits=bits, a_bits=activations)
    qnet = quantize(task.seed_model, task.course.images[:1], config).calibrate(task.calibration())
    qnet.correct_biases(task.course.images[:1024])
    after = integer_accuracy(integerize(qnet.eval(), "ic"), task.course)
    if epochs:
        course = task.further()
        qnet.restore_norms(task.course.images[:1024])
        course.fit(qnet, 0, epochs, plain_optimizer(qnet, task.given.scale))
    return task.row("fixed" if epochs else "converted", f"w{bits}a{activations}", qnet, after, started)


def mixed(
    task: Task,
    course: Course,
    model: nn.Module,
    span: tuple[int, int, int],
    scale: float,
    limit: str | None,
    *,
    kind: MPSType = MPSType.PER_CHANNEL,
    precisions: tuple[int, ...] = (0, 2, 4, 8),
    strength: float = 0.0,
) -> tuple[QuantNetwork, float]:
    """MPS on ``params_bit`` at 8-bit activations, at a price or towards a limit, and fine-tuning.

    Args:
        task: gives batches to calibrate and to rank precisions with.
        course: trains.
        model: in float, trained.
        span: first epoch of the search, and the ones after its last and after the last of fine-tuning.
        scale: of the learning rates.
        limit: size of the weights; ``None`` for a price.
        kind: what has a precision of its own.
        precisions: of weights.
        strength: the price, per bit.

    Returns:
        The network, and the percentage of test images that it had right before fine-tuning.
    """
    mps = MPS(
        model,
        cost={"size": cost.params_bit},
        input_example=course.images[:1],
        w_search_type=kind,
        qinfo=get_default_qinfo(precisions, (8,)),
        full_cost=True,
        hard_softmax=True,
        calibration=task.calibration(),
    )
    mps.rank_precisions(nn.functional.cross_entropy, task.examples())
    if limit is not None:
        mps.settle(limit, "size")
        mps.correct_biases(course.images[:1024])
    mps.restore_norms(course.images[:1024])
    price: Any = (
        regularizers.BaseRegularizer("size", strength)
        if limit is None
        else regularizers.DUCCIO({"size": limit}, task_loss=1.0)
    )
    first, searched_to, last = span
    course.fit(mps, first, searched_to, search_optimizers(mps, scale), regularizer=price, like=model)
    if limit is not None:
        mps.settle(limit, "size")
    mps.correct_biases(course.images[:1024])
    qnet = mps.eval().export()
    after = integer_accuracy(integerize(qnet.eval(), "ic"), course)
    course.fit(qnet, searched_to, last, plain_optimizer(qnet, scale), like=model)
    return qnet, after


def searched(
    task: Task, kind: MPSType, precisions: tuple[int, ...], strength: float, limit: str | None, draw: int
) -> Row:
    """MPS alone."""
    started = time.monotonic()
    span = 0, SEARCH_EPOCHS, SEARCH_EPOCHS + TUNE_EPOCHS
    qnet, after = mixed(
        task,
        task.further(draw=draw),
        task.seed_model,
        span,
        task.given.scale,
        limit,
        kind=kind,
        precisions=precisions,
        strength=strength,
    )
    name = "per channel" if kind is MPSType.PER_CHANNEL else "per layer"
    name += " or none" if 0 in precisions else ""
    return task.row(name, limit or f"{strength:g}", qnet, after, started)


def longer(task: Task) -> Row:
    """The seed in float for as many further epochs as a chain has: what a chain is measured against."""
    started = time.monotonic()
    course = task.further(CHAIN_EPOCHS)
    model = copy.deepcopy(task.seed_model)
    course.fit(model, 0, CHAIN_EPOCHS, plain_optimizer(model))
    qnet = quantize(model.eval(), course.images[:1], QuantConfig()).calibrate(task.calibration())
    qnet.correct_biases(course.images[:1024])
    say(f"seed of {task.given.epochs + CHAIN_EPOCHS} epochs: {course.accuracy(model):.2f} %")
    return task.row("seed, longer", "w8a8", qnet, course.accuracy(model), started)


def chained(task: Task, limit: str) -> Row:
    """SuperNet, PIT and MPS one after the other; all learn from the seed's answers too."""
    started = time.monotonic()
    course = task.further(CHAIN_EPOCHS).taught(task.seed_model)
    start = in_place_of(copy.deepcopy(task.seed_model), SEARCHED)
    start_alternatives(start)
    nas = search_layers(course, start, price_of(size=SELECTION_STRENGTH), 0, WARM_UP, SELECTED)
    say(f"selected: { {name: module.best_index for name, module in nas.named_choices()} }")
    model = prune(course, nas.eval().export(), SELECTED, PRUNED, KEPT)
    qnet, after = mixed(task, course, model, (PRUNED, MIXED, CHAIN_EPOCHS), 1.0, limit)
    return task.row("chain", limit, qnet, after, started, same_layers=False)


def fresh(task: Task, limit: str, size: float, macs: float) -> Row:
    """The same chain from random weights, in as much compute as the seed has had: nobody has taught it."""
    started = time.monotonic()
    course = task.afresh()
    found, details = choose(course, price_of(size=size, macs=macs))
    say(f"selected: {details['chosen']}")
    *_, selected, pruned, firm, mixed_to = course.ends(*SELECTION_ENDS, *FRESH)
    model = prune(course, found, selected, pruned, FRESH_KEPT)
    course.fit(model, pruned, firm, plain_optimizer(model))
    say(f"before quantization: {course.accuracy(model):.2f} %")
    qnet, after = mixed(task, course, model, (firm, mixed_to, task.given.epochs), 1.0, limit)
    return task.row("chain, fresh", f"{limit}, {size:g}, {macs:g}", qnet, after, started, same_layers=False)


def prune(course: Course, model: nn.Module, first: int, last: int, kept: float) -> nn.Module:
    """Without the channels that matter least, between two epochs, so that a share of the weights is kept."""
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() > 1)
    limit = f"{kept * weights / 1e3:.2f} kB"
    price = regularizers.DUCCIO({"size": limit}, task_loss=1.0)
    found: nn.Module
    found, _ = search_channels(course, model, price, first, last, limit, discrete=True)
    say(f"pruned to {limit}: {course.accuracy(found):.2f} %")
    return found


def plans(task: Task, strengths: Sequence[float], limits: Sequence[str]) -> dict[str, Callable[[], Row]]:
    """Rows by key, in the order in which they are made."""
    total = SEARCH_EPOCHS + TUNE_EPOCHS
    found: dict[str, Callable[[], Row]] = {"converted-8": lambda: fixed(task, 8, 8, 0)}
    goals: list[tuple[float, str | None]] = [(strength, None) for strength in strengths]
    goals += [(0.0, limit) for limit in limits]
    for name, kind, precisions in (
        ("channel", MPSType.PER_CHANNEL, (0, 2, 4, 8)),
        ("kept", MPSType.PER_CHANNEL, (2, 4, 8)),
        ("layer", MPSType.PER_LAYER, (2, 4, 8)),
    ):
        for (strength, limit), draw in itertools.product(goals, range(task.given.draws)):
            key = f"{name}-{limit or format(strength, 'g')}".replace(" ", "") + (f"#{draw}" if draw else "")
            found[key] = partial(searched, task, kind, precisions, strength, limit, draw)
    found["longer"] = partial(longer, task)
    for limit in limits:
        found[f"chain-{limit}".replace(" ", "")] = partial(chained, task, limit)
        size, macs = task.given.fresh
        found[f"fresh-{limit}-{size:g}-{macs:g}".replace(" ", "")] = partial(fresh, task, limit, size, macs)
    for bits in (8, 4, 2):
        found[f"fixed-{bits}"] = partial(fixed, task, bits, 8, total)
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="accuracy and size of ResNet8 in mixed precision")
    parser.add_argument("--data", type=Path, required=True, help="folder of npz files of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=24, help="of the float seed")
    parser.add_argument("--images", type=int, help="training images; all by default")
    parser.add_argument("--test-images", type=int, help="test images; all by default")
    parser.add_argument("--strengths", type=float, nargs="*", default=[1e-6])
    parser.add_argument("--limits", nargs="*", default=["22 kB"], help="sizes of the weights that searches must meet")
    parser.add_argument(
        "--only",
        nargs="+",
        help="keys of rows, such as channel-22kB, kept-22kB (no channel pruned), layer-1e-06, layer-22kB#1 or fixed-4",
    )
    parser.add_argument(
        "--draws", type=int, default=1, help="random orders and augmentations of a search; #1 the second"
    )
    parser.add_argument("--scale", type=float, default=0.5, help="of the learning rates after the float seed")
    parser.add_argument(
        "--fresh",
        type=float,
        nargs=2,
        default=FRESH_STRENGTHS,
        metavar=("SIZE", "MACS"),
        help="prices of the selection of layers in a chain from random weights",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder that keeps the float seed")
    parser.add_argument("--out", type=Path, help="also write the JSON here, after each row, and go on there")
    parser.add_argument("--json", action="store_true", help="print the JSON")
    return parser.parse_args()


def read_rows(path: Path | None, conditions: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows by key of an earlier run under the same conditions; none if there was no such run."""
    if path is None or not path.is_file():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    if any(document.get(key) != value for key, value in conditions.items()):
        say(f"{path}: other data or other settings; its rows are made anew")
        return {}
    rows: dict[str, dict[str, Any]] = document["rows"]
    return rows


def main() -> int:
    """Make the rows; those that lie in ``--out`` already are kept."""
    given = arguments()
    torch.set_num_threads(given.threads)
    task = Task(given)
    conditions = {
        "benchmark": "accuracy_ic",
        "data": given.data.name,
        "train_images": len(task.course.train),
        "test_images": len(task.course.test),
        "epochs": {"seed": given.epochs, "search": SEARCH_EPOCHS, "tune": TUNE_EPOCHS},
        "scale": given.scale,
        "seed": given.seed,
        "torch": torch.__version__.split("+")[0],
        "seed_accuracy": task.seed_accuracy,
    }
    rows = read_rows(given.out, conditions)
    document = {**conditions, "rows": rows}
    for key, make in plans(task, given.strengths, given.limits).items():
        if key not in rows and (given.only is None or key in given.only):
            rows[key] = asdict(make())
            if given.out is not None:
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if given.json:
        sys.stdout.write(json.dumps(document) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
