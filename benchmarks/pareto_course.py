# SPDX-License-Identifier: Apache-2.0
"""Data and training of the Pareto benchmarks.

Every network has the same budget from its random initialisation to its last figure: the seed, each uniformly narrowed
seed, and each searched network (warm-up, search and fine-tuning together). The budget is a number of epochs, or as much
computation as that many epochs of the seed (what Z. Liu et al., "Rethinking the Value of Network Pruning", ICLR 2019,
call Scratch-E and Scratch-B). All follow one cosine of the learning rate over it, see the images augmented alike,
and are judged on the same test images.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optimizers import MuonAdam
from pareto_points import Point
from torch import Tensor, nn

from plinio_deploy import PIT, cost, regularizers
from plinio_deploy.recipe import Split
from plinio_deploy.recipes import npz
from plinio_deploy.recipes.augment import shift_and_mirror
from plinio_deploy.recipes.models import ResNet8
from plinio_deploy.search import training
from plinio_deploy.search.distillation import Distillation
from plinio_deploy.search.methods.base import DNAS

COSTS = {"size": cost.params_bit, "macs": cost.ops_no_bias, "ram": cost.peak_ram}
"""Weights at 8 bits, in bits; multiply-accumulates; bytes of activations at 8 bits."""


@dataclass(frozen=True)
class Budget:
    """How long everything takes.

    Attributes:
        images: of the training set; None for all.
        test_images: of the test set; None for all.
        epochs: for each network, all phases together.
        widths: of the uniformly narrowed seeds.
        batch: images per step.
    """

    images: int | None
    test_images: int | None
    epochs: int
    widths: tuple[float, ...]
    batch: int = 128


BUDGETS = {
    "smoke": Budget(256, 256, 4, (0.5, 1.0), 64),
    "small": Budget(5000, None, 24, (0.35, 0.5, 0.7, 1.0)),
    "full": Budget(None, None, 60, (0.25, 0.35, 0.5, 0.7, 1.0)),
}


class Course:
    """Data and training of one run.

    Args:
        folder: npz files of 10 classes of images.
        budget: see `Budget`.
        seed: of initialisation, order and augmentation.
        device: where to train.
        cache: folder that keeps trained seeds, if any.
        equal_compute: whether epochs are the seed's, and a network that takes fewer multiply-accumulates gets as many
            more of its own; else all get the same number.

    Attributes:
        distillation: to learn from a trained network too; ``None`` for the labels alone.
    """

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        seed: int,
        device: str,
        cache: Path | None = None,
        equal_compute: bool = False,
    ) -> None:
        data = npz.load(folder, val_fraction=0.02)
        self.budget, self.seed, self.device, self.cache = budget, seed, torch.device(device), cache
        self.equal_compute = equal_compute
        self.train = _first(data.train, budget.images)
        self.test = _first(data.test, budget.test_images)
        self.shape = tuple(self.train.x.shape[1:])
        self.images = torch.from_numpy(self.train.x).to(self.device)
        self.labels = torch.from_numpy(self.train.y).to(self.device)
        self.generator = torch.Generator().manual_seed(seed)
        self.distillation: Distillation | None = None
        self._seed_macs: float | None = None
        self._trained: nn.Module | None = None

    def trained(self) -> nn.Module:
        """The seed after all epochs; kept in the cache, and taken from there if it lies there.

        Not to be changed: copy it.
        """
        if self._trained is None:
            self._trained = self._train_seed()
        return self._trained

    def _train_seed(self) -> nn.Module:
        model, epochs = self.network(), self.budget.epochs
        folder = self.cache
        path = None if folder is None else folder / f"seed-muon-{self.seed}-{epochs}-{len(self.train)}.pt"
        if path is not None and path.is_file():
            model.load_state_dict(torch.load(path, weights_only=True))
            return model.eval()
        self.fit(model, 0, epochs, plain_optimizer(model))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), path)
        return model.eval()

    def taught(self, teacher: nn.Module) -> Course:
        """The same course, learning from a trained network too."""
        other = copy.copy(self)
        other.distillation = Distillation(nn.functional.cross_entropy, teacher)
        return other

    def network(self, width: float = 1.0) -> ResNet8:
        """A fresh ResNet8, the same for the same seed and width."""
        torch.manual_seed(self.seed)
        self.generator.manual_seed(self.seed)
        return ResNet8(classes=10, channels=self.shape[0], width=width).to(self.device)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: shuffled, shifted by up to 4 pixels, mirrored by chance."""
        order = torch.randperm(len(self.images), generator=self.generator).to(self.device)
        # Batch norm wants more than one image: a remainder of one is dropped.
        for chosen in torch.split(order, self.budget.batch):
            if len(chosen) > 1:
                yield shift_and_mirror(self.images[chosen], self.generator), self.labels[chosen]

    def fit(
        self,
        model: Any,
        first: int,
        last: int,
        optimizer: Any,
        each: Callable[[int], Any] | None = None,
        regularizer: Any = None,
        like: nn.Module | None = None,
    ) -> int:
        """Train from epoch ``first`` up to, not including, ``last`` of the budget's epochs.

        Args:
            model: plain, or under search.
            first: epoch in the cosine.
            last: the one after the last.
            optimizer: whose groups have an ``initial_lr``, or `training.Optimizers` with such a one for the weights;
                that of the masks keeps its learning rate.
            each: called with the number of every epoch before it.
            regularizer: of the search.
            like: a plain network that takes as many multiply-accumulates, if the model is none.

        Returns:
            How many times the images were seen: ``last - first``, or more at equal compute.
        """
        net = optimizer.net if isinstance(optimizer, training.Optimizers) else optimizer
        share = self.share(model if like is None else like)
        count = int((last - first) / share)
        for epoch in range(count):
            if each is not None:
                each(epoch)
            batches = self._paced(net, first + epoch * share, share, layout(model))
            both = self.distillation
            training.train_epoch(
                model,
                batches if both is None else both.batches(batches),
                both or nn.functional.cross_entropy,
                optimizer,
                regularizer=regularizer,
                epoch=epoch,
                n_epochs=count,
            )
        return count

    def share(self, model: nn.Module) -> float:
        """What one epoch takes of the budget: at equal compute, the multiply-accumulates over those of the seed.

        A network under search counts as the seed, which is at least what it takes: of alternatives that are taken in
        turns the layer that was there is the longest, and masks leave it as it was.
        """
        if not self.equal_compute or isinstance(model, DNAS):
            return 1.0
        if self._seed_macs is None:
            with torch.random.fork_rng(devices=[]):
                seed = ResNet8(classes=10, channels=self.shape[0]).to(self.device)
            self._seed_macs = self.costs(seed)["macs"]
        return self.costs(model)["macs"] / self._seed_macs

    def _paced(
        self, optimizer: torch.optim.Optimizer, begin: float, length: float, order: torch.memory_format
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The images once, with the learning rate of that part of the budget set before every batch."""
        steps = math.ceil(len(self.images) / self.budget.batch)
        for step, (images, labels) in enumerate(self.batches()):
            done = (begin + length * step / steps) / self.budget.epochs
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * 0.5 * (1 + math.cos(math.pi * done)) * min(1.0, done / RISE + 1e-3)
            yield images.contiguous(memory_format=order), labels

    def ends(self, *shares: float) -> list[int]:
        """Where phases end, from the shares of the budget: at epochs, each of them one at least."""
        found: list[int] = []
        for share in shares:
            found.append(max(round(share * self.budget.epochs), 1 + (found[-1] if found else 0)))
        return found

    def costs(self, model: nn.Module) -> dict[str, float]:
        """`COSTS` of a plain network; leaves the random numbers that follow as they are."""
        with torch.random.fork_rng(devices=[]):
            use = PIT(model, cost=COSTS, input_shape=self.shape, full_cost=True, autoconvert_layers=False)
        return {name: use.get_cost(name).item() for name in COSTS}

    def point(self, method: str, setting: float | str, model: nn.Module, started: float, **details: Any) -> Point:
        """Judge a trained plain network."""
        size, macs, ram = self.costs(model).values()
        seconds = time.monotonic() - started
        found = Point(method, setting, self.seed, size / 8, macs, ram, self.accuracy(model), seconds, details)
        sizes = f"{size / 8e3:7.2f} kB  {macs / 1e6:6.2f} MMAC"
        say(f"{method:13} {setting!s:>8}  {sizes}  {found.accuracy:6.2f} %  {seconds:6.0f} s")
        return found

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """Percent of the test images."""
        model.eval()
        x, y = torch.from_numpy(self.test.x), torch.from_numpy(self.test.y)
        answers = torch.cat([model(images.to(self.device)).argmax(1).cpu() for images in torch.split(x, 256)])
        return 100.0 * (answers == y).float().mean().item()


RISE = 0.02
"""Share of a cosine in which the learning rate rises."""

NAS_RATE = 1e-2


def layout(model: nn.Module) -> torch.memory_format:
    """How images lie in memory for a network's training.

    With channels last, which is faster on CPUs, most of all for depthwise convolutions, where every convolution has a
    multiple of 8 output channels; else as usual: the backward pass of torch 2.13 corrupts its heap with some other
    numbers of channels in that order (see `shift_and_mirror`).
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    regular = all(module.out_channels % 8 == 0 for module in convolutions)
    return torch.channels_last if regular else torch.contiguous_format


def plain_optimizer(model: nn.Module, scale: float = 1.0) -> torch.optim.Optimizer:
    """The one that weights under search get too; ``scale`` multiplies its learning rates."""
    return MuonAdam(model.parameters(), scale)


def search_optimizers(model: Any, scale: float = 1.0) -> training.Optimizers:
    """For weights, and for masks and selections."""
    return training.Optimizers(
        MuonAdam(model.net_parameters(), scale), torch.optim.Adam(list(model.nas_parameters()), lr=NAS_RATE)
    )


def price_of(**strengths: float) -> Callable[..., Tensor]:
    """What costs add to the loss, each at its strength relative to the seed's; those at 0 nothing."""
    parts = [regularizers.BaseRegularizer(name, each, relative=True) for name, each in strengths.items() if each > 0]

    def price(*given: Any) -> Tensor:
        return torch.stack([part(*given) for part in parts]).sum()

    return price


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _first(split: Split, count: int | None) -> Split:
    return split if count is None else Split(split.x[:count], split.y[:count])
