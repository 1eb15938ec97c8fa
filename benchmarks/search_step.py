# SPDX-License-Identifier: Apache-2.0
"""What one training step costs under each search method, as a ratio to plain training of the same network.

ResNet8 on 32x32x3, batch 128, one thread. Time is the process's CPU time of whole steps (forward, cost, backward, SGD)
in rounds that take all configurations in turn; the fastest round of each counts. Memory is what the resident set of a
fresh process grows by, at its peak over a few steps, above what imports take.

- ``pit``: channel masks on every layer.
- ``supernet_sampled``: four alternatives in the place of each of the seven 3x3 convolutions (3x3, 5x5, depthwise 3x3
  and pointwise, and identity or, where the shape changes, pointwise), one path drawn per step. The draws of a round are
  a Latin square: every place runs each branch equally often, so that the result does not depend on luck.
- ``supernet_mixed``: the same network, all paths in each step.
- ``qat8``: quantization-aware training at 8/8 bits. Batch norms are folded in this and the following.
- ``mps_layer``, ``mps_channel``: weights and activations out of (2, 4, 8) bits, weights per layer or per channel.
- ``mps_prune``: weights per channel out of (0, 2, 4, 8) bits, activations of 8.

    python benchmarks/search_step.py --json

``latency_lookup`` says which share of such a step the price takes where it is ``cost.latency("cortex-m4")``, forward
and backward: the part of it that looks layers up in a calibrated table.

``--extra`` adds two that are no target: ``supernet_unmerged`` (all paths, each branch on its own) and
``supernet_nonlinear`` (all paths, batch norm and ReLU in every branch, so that nothing can be merged).
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy import MPS, PIT, MPSType, SuperNet, SuperNetModule, cost, get_default_qinfo
from plinio_deploy.quantization import quantize
from plinio_deploy.recipes.models import ResNet8
from plinio_deploy.search.methods.base import DNAS
from plinio_deploy.search.methods.supernet import selection

BATCH = 128
BRANCHES = 4
PLACES = 7
METHODS = ("pit", "supernet_sampled", "supernet_mixed", "qat8", "mps_layer", "mps_channel", "mps_prune")
PRICED = ("pit", "mps_layer", "mps_channel")
TARGET = "cortex-m4"
EXTRA = ("supernet_unmerged", "supernet_nonlinear")
MIXED = {
    "mps_layer": (MPSType.PER_LAYER, (2, 4, 8), (2, 4, 8)),
    "mps_channel": (MPSType.PER_CHANNEL, (2, 4, 8), (2, 4, 8)),
    "mps_prune": (MPSType.PER_CHANNEL, (0, 2, 4, 8), (8,)),
}
SHAPE = (3, 32, 32)

Model = nn.Module


def alternatives(conv: nn.Conv2d) -> list[nn.Module]:
    """Four linear blocks that may stand for a 3x3 convolution; the batch norm that follows is that of the network."""
    inputs, outputs, stride = conv.in_channels, conv.out_channels, conv.stride[0]
    separable = nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.Conv2d(inputs, outputs, 1)
    )
    same = inputs == outputs and stride == 1
    last: nn.Module = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)
    return [conv, nn.Conv2d(inputs, outputs, 5, stride, 2), separable, last]


def nonlinear(conv: nn.Conv2d) -> list[nn.Module]:
    """The same blocks with a batch norm and a ReLU behind each."""
    return [nn.Sequential(b, nn.BatchNorm2d(conv.out_channels), nn.ReLU()) for b in alternatives(conv)]


def with_alternatives(
    branches: Callable[[nn.Conv2d], list[nn.Module]], *, single_path: bool = False, merged: bool = True
) -> nn.Module:
    """ResNet8 with a choice in the place of every 3x3 convolution."""
    model = ResNet8()
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    for name, conv in found:
        if conv.kernel_size == (3, 3):
            parent, _, own = name.rpartition(".")
            choice = SuperNetModule(branches(conv), single_path=single_path, merge_linear=merged)
            setattr(model.get_submodule(parent), own, choice)
    return model


def build(name: str, price: cost.Cost | None = None) -> Model:
    """The model of one configuration, with a price instead of its usual one if given."""
    torch.manual_seed(0)
    if name == "plain":
        return ResNet8()
    if name == "pit":
        return PIT(ResNet8(), cost=price or cost.params, input_shape=SHAPE)
    if name == "qat8":
        return quantize(ResNet8(), torch.zeros(1, *SHAPE)).calibrate([torch.rand(BATCH, *SHAPE)])
    if name in MIXED:
        kind, weights, activations = MIXED[name]
        qinfo = get_default_qinfo(weights, activations)
        batches = [torch.rand(BATCH, *SHAPE)]
        chosen = price or cost.params_bit
        return MPS(ResNet8(), chosen, input_shape=SHAPE, w_search_type=kind, qinfo=qinfo, calibration=batches)
    seeds = {
        "supernet_sampled": lambda: with_alternatives(alternatives, single_path=True),
        "supernet_mixed": lambda: with_alternatives(alternatives),
        "supernet_unmerged": lambda: with_alternatives(alternatives, merged=False),
        "supernet_nonlinear": lambda: with_alternatives(nonlinear),
    }
    return SuperNet(seeds[name](), cost=cost.params, input_shape=SHAPE)


class Step:
    """A model with its optimizer; calling it is one training step on fixed random data."""

    def __init__(self, name: str, batch: int = BATCH, price: cost.Cost | None = None) -> None:
        self.name = name
        self.model = build(name, price).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(1)
        self.x = torch.rand(batch, *SHAPE, generator=generator)
        self.y = torch.randint(0, 10, (batch,), generator=generator)

    def __call__(self) -> None:
        """Forward, cost, backward, update."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.x), self.y)
        if isinstance(self.model, DNAS):
            loss = loss + 1e-9 * self.model.cost
        torch.autograd.backward(loss)
        self.optimizer.step()


@contextmanager
def balanced(steps: int, seed: int = 0) -> Iterator[None]:
    """Draws of paths that are spread evenly over the branches at every place, for ``steps`` steps.

    Second paths, drawn for a look, stay random; so does when to look, with a fixed seed.
    """
    if steps % BRANCHES:
        raise ValueError(f"{steps} steps cannot be spread evenly over {BRANCHES} branches")
    torch.manual_seed(seed)
    shuffle = random.Random(seed)  # noqa: S311  # an order, not a secret
    waiting: list[list[int]] = [[] for _ in range(PLACES)]
    calls = itertools.count()
    drawn = selection.draw

    def draw(theta: Tensor, other_than: int | None = None) -> tuple[int, float]:
        if other_than is not None:
            return drawn(theta, other_than)
        mine = waiting[next(calls) % PLACES]  # every step asks every place once, in the order of the network
        if not mine:
            mine += shuffle.sample(range(BRANCHES), BRANCHES)
        index = mine.pop()
        return index, float(theta[index].detach())

    with mock.patch.object(selection, "draw", draw):
        yield


def timed(step: Step, steps: int) -> float:
    """CPU seconds per step."""
    with balanced(steps):
        start = time.process_time()
        for _ in range(steps):
            step()
        return (time.process_time() - start) / steps


def times(names: list[str], rounds: int, steps: int, batch: int) -> dict[str, float]:
    """CPU seconds per step of each configuration: the fastest of interleaved rounds."""
    runs = [Step(name, batch) for name in names]
    for run in runs:
        with balanced(BRANCHES):
            run()
    best = dict.fromkeys(names, float("inf"))
    for _ in range(rounds):
        for run in runs:
            best[run.name] = min(best[run.name], timed(run, steps))
    return best


def lookups(names: Sequence[str], rounds: int, batch: int) -> dict[str, float]:
    """Share of a step that looking cycles up takes, forward and backward, while the searched parameters move."""
    found = {}
    for name in names:
        step = Step(name, batch, cost.latency(TARGET))
        searched = step.model
        assert isinstance(searched, DNAS)
        step()  # the first one fills what is remembered of layers
        best = [float("inf")] * 2
        for _ in range(rounds):
            start = time.process_time()
            step()
            middle = time.process_time()
            torch.autograd.backward(1e-9 * searched.cost)
            best = [min(best[0], middle - start), min(best[1], time.process_time() - middle)]
        found[name] = best[1] / best[0]
    return found


def peak(name: str, steps: int, batch: int) -> int:
    """KiB that this process grows by at its peak, from after the imports over a few steps; call it once per process."""
    F.conv2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)).sum()  # libraries that load at their first call
    before = highest()
    step = Step(name, batch)
    with balanced(steps):
        for _ in range(steps):
            step()
    return highest() - before


def highest() -> int:
    """KiB of the largest resident set so far (Linux; ``getrusage`` would begin with that of the parent)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def peaks(names: list[str], steps: int, batch: int) -> dict[str, int]:
    """The same for several configurations, each in a process of its own."""
    found = {}
    for name in names:
        sizes = ["--steps", str(steps), "--batch", str(batch)]
        command = [sys.executable, str(Path(__file__)), "--peak", name, *sizes]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = int(done.stdout)
    return found


def construction(names: list[str]) -> dict[str, float]:
    """Milliseconds of CPU to wrap a model, the fastest of some (the first one imports); models are built beforehand."""
    found = dict.fromkeys(names, float("inf"))
    for name in names:
        for _ in range(6):
            seed = ResNet8() if name == "pit" else with_alternatives(alternatives)
            start = time.process_time()
            method = PIT if name == "pit" else SuperNet
            method(seed, cost=cost.params, input_shape=SHAPE)
            found[name] = min(found[name], 1000 * (time.process_time() - start))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="What one training step costs under each search method, as a ratio to plain training."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="per round; a multiple of 4")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--extra", action="store_true", help="also configurations that are no target")
    parser.add_argument("--only", metavar="NAMES", help="a comma-separated part of the configurations")
    parser.add_argument("--peak", metavar="NAME", help="print the peak memory of one configuration, in KiB")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(peak(options.peak, options.steps, options.batch))
        return
    chosen = options.only.split(",") if options.only else [*METHODS, *(EXTRA if options.extra else ())]
    names = ["plain", *chosen]
    seconds = times(names, options.rounds, options.steps, options.batch)
    kib = peaks(names, options.steps, options.batch)
    result = {name: round(seconds[name] / seconds["plain"], 3) for name in names[1:]}
    memory = {name: round(kib[name] / max(kib["plain"], 1), 3) for name in names[1:]}
    lookup = lookups([name for name in chosen if name in PRICED], options.rounds, options.batch)
    if options.json:
        rounded = {name: round(share, 4) for name, share in lookup.items()}
        print(json.dumps({**result, "peak_memory": memory, "latency_lookup": rounded}))
        return
    wrapping = construction([name for name in chosen if name in ("pit", "supernet_mixed")])
    print(f"plain step {1000 * seconds['plain']:.0f} ms of CPU, peak {kib['plain'] / 1024:.0f} MiB over imports")
    for name in names[1:]:
        note = f"   wrapped in {wrapping[name]:.0f} ms" if name in wrapping else ""
        note += f"   lookup of cycles {lookup[name]:.2%} of a step" if name in lookup else ""
        print(f"{name:20s} time {result[name]:.2f}   memory {memory[name]:.2f}{note}")


if __name__ == "__main__":
    main()
