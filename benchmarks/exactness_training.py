# SPDX-License-Identifier: Apache-2.0
"""The trained networks of `exactness`: in float, and with quantizers in at each precision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from optimizers import MuonAdam
from torch import Tensor, nn

from plinio_deploy.quantization import LayerConfig, QuantConfig, QuantNetwork, quantize
from plinio_deploy.recipe import Data, Recipe, Split

PRECISIONS = {"w8a8": (8, 8), "w4a8": (4, 8), "w4a4": (4, 4), "w2a8": (2, 8), "w2a2": (2, 2), "mixed": (8, 8)}
"""Widths of weights and activations. ``mixed``: widths drawn per channel out of 2, 4 and 8, a fifth of the channels
that may go removed, activations of 4 and 8 bits."""

PRUNED = 0.2
BATCH = 64
QAT_SCALE = 0.5
"""Of the learning rates with quantizers in."""
SHARES = {"w8a8": 0.25, "w4a8": 0.5}
"""Of ``--qat-steps``: more bits need less training."""
RISE = 0.05
"""Share of the steps in which the learning rate rises."""


@dataclass(frozen=True)
class Course:
    """One network with its data, and how long it is trained.

    Attributes:
        recipe: of the network.
        data: its images, sounds, ...
        steps: in float, batches of `BATCH`.
        qat_steps: with quantizers in, or the `SHARES` of them.
        seed: of everything random.
        cache: folder that keeps what was trained; ``None`` for none.
        weights: of the float network, to start from.
    """

    recipe: Recipe
    data: Data
    steps: int
    qat_steps: int
    seed: int
    cache: Path | None = None
    weights: Path | None = None

    def batches(self, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Random batches of the training data."""
        rng = np.random.default_rng(seed)
        train: Split = self.data.train
        for _ in range(steps):
            chosen = np.sort(rng.choice(len(train), min(BATCH, len(train)), replace=False))
            yield torch.from_numpy(train.x[chosen]), torch.from_numpy(train.y[chosen])

    def train(self, model: nn.Module, steps: int, scale: float) -> None:
        """Muon and AdamW on random batches, under a cosine."""
        model.train()
        optimizer = MuonAdam(model.parameters(), scale)
        generator = torch.Generator().manual_seed(self.seed)
        for step, (x, y) in enumerate(self.batches(steps, self.seed)):
            share = min(1.0, (step + 1) / (RISE * steps)) * 0.5 * (1 + np.cos(np.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = share * group["initial_lr"]
            optimizer.zero_grad()
            self.recipe.loss(model(self.recipe.augment(x, generator)), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()

    def trained(self) -> nn.Module:
        """The float network."""
        torch.manual_seed(self.seed)
        model = self.recipe.model().eval()
        if self.weights is not None:
            model.load_state_dict(torch.load(self.weights, weights_only=True))
        self._kept(model, f"{self.recipe.name} float {self.steps}", lambda: self.train(model, self.steps, 1.0))
        return model

    def quantized(self, model: nn.Module, precision: str) -> QuantNetwork:
        """The network with quantizers in, calibrated and trained."""
        w_bits, a_bits = PRECISIONS[precision]
        low, high = self.recipe.input_range
        plain = QuantConfig(w_bits=w_bits, a_bits=a_bits, input_range=(low, high))
        example = torch.zeros((1, *self.recipe.input_shape))
        if precision == "mixed":
            layers = mixed_layers(quantize(model, example, plain), self.seed)
            plain = QuantConfig(w_bits=w_bits, a_bits=a_bits, input_range=(low, high), layers=layers)
        qnet = quantize(model, example, plain).calibrate(self.batches(8, self.seed + 1))
        batch = torch.cat([x for x, _ in self.batches(8, self.seed + 2)])
        steps = round(SHARES.get(precision, 1.0) * self.qat_steps)

        def train() -> None:
            qnet.correct_biases(batch).restore_norms(batch)
            self.train(qnet, steps, QAT_SCALE)
            qnet.correct_biases(batch)  # statistics of norms as they are now
            qnet.fold_norms()

        self._kept(qnet, f"{self.recipe.name} {precision} {steps}", train)
        return qnet.eval()

    def _kept(self, model: nn.Module, what: str, train: Callable[[], None]) -> None:
        """Train, or load what an earlier run of the same has made of the same parameters."""
        if self.cache is None:
            train()
            return
        digest = hashlib.sha256(f"{what} {self.seed} {BATCH} {len(self.data.train)}".encode())
        for _, value in sorted(model.state_dict().items()):
            digest.update(value.contiguous().numpy().tobytes())
        path = self.cache / f"{digest.hexdigest()[:24]}.pt"
        if path.is_file():
            model.load_state_dict(torch.load(path, weights_only=True))
            return
        train()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)


def mixed_layers(qnet: QuantNetwork, seed: int) -> dict[str, LayerConfig]:
    """Widths drawn per channel; of the channels that may go, those with the smallest weights get 0 bits."""
    rng = np.random.default_rng(seed)
    tied = qnet.channels
    widths = {name: rng.choice((2, 4, 8), len(own)) for name, own in tied.outputs.items()}
    size: dict[int, float] = {}
    for index, component in enumerate(tied.components):
        if component.prunable:
            norms = [float(qnet.layer(name).weight[channel].detach().norm()) for name, channel in component.members]
            size[index] = float(np.mean(norms))
    for own in tied.outputs.values():
        free = sorted({index for index in own.tolist() if index in size}, key=size.__getitem__)
        for index in free[: int(PRUNED * len(free))]:
            members = tied.components[index].members
            if all(np.count_nonzero(widths[other]) > 1 for other, _ in members):
                for other, channel in members:
                    widths[other][channel] = 0
    nodes = {node.name: node for node in qnet.nodes}
    return {
        nodes[name].path: LayerConfig(tuple(int(width) for width in own), int(rng.choice((4, 8))))
        for name, own in widths.items()
    }
