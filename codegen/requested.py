# SPDX-License-Identifier: Apache-2.0
"""Kernels that spend memory or change an op's place, which nobody gets who has not asked: who asks for what.

`schedule` takes what was asked for wherever it is faster by estimate; a tuner measures (`Requested.allows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plinio_deploy.codegen import fusion, registry
from plinio_deploy.codegen.kernel import Kernel
from plinio_deploy.codegen.lower import lower
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.network import Network

Winograd = Literal["none", "scratch", "flash"]
"""Where transformed weights lie: nowhere, in scratch while the code runs, or in flash."""

ARENA = 1.1
"""How much larger than that of the default kernels the arena may get for Winograd's method in scratch."""


@dataclass(frozen=True)
class Requested:
    """What was asked for, or ruled out; ``None`` where nothing was said.

    Attributes:
        winograd: Winograd's method for convolutions 3 x 3.
        adds_along: adds that execute the convolution before them (`plinio_deploy.codegen.fusion`).
        wide: weights of 8 bits that take half as much flash again.
    """

    winograd: Winograd | None = None
    adds_along: bool | None = None
    wide: bool | None = None

    def allows(self, kernel: Kernel, *, otherwise: bool) -> bool:
        """Whether a tuner may take a kernel.

        Args:
            kernel: any; those not on request are always allowed. Where weights may be transformed in flash they may be
                in scratch, too.
            otherwise: what holds where nothing was said.
        """
        if not kernel.on_request:
            return True
        if not _is_winograd(kernel):
            return otherwise if self.wide is None else self.wide
        if self.winograd is None:
            return otherwise
        return self.winograd == "flash" or (self.winograd == "scratch" and _in_scratch(kernel))


def _is_winograd(kernel: Kernel) -> bool:
    return "_winograd" in kernel.name


def _in_scratch(kernel: Kernel) -> bool:
    return "_scratch" in kernel.name


def schedule(network: Network, isa: frozenset[str], asked: Requested) -> Schedule:
    """The schedule of what was asked for, where it is faster by estimate.

    Adds along come first, whatever they cost: they save arena. Then layers take wide weights, then Winograd's method,
    each where it is faster than what they have. For Winograd's method in scratch the arena may grow to `ARENA` times
    that of the default kernels; layers that gain most come first.

    Raises:
        UnsupportedModel: an op that no kernel executes.
    """
    base = fusion.everywhere(network, isa) if asked.adds_along else Schedule()
    base = _wide(network, isa, base) if asked.wide else base
    return _winograd(network, isa, asked.winograd, base) if asked.winograd not in (None, "none") else base


def _wide(network: Network, isa: frozenset[str], base: Schedule) -> Schedule:
    chosen = {layer: entry.name for layer, entry in base.layers.items()}
    for step in lower(network, "net", isa, base).steps:
        for kernel in registry.candidates(step.site):
            on_request = kernel.on_request and not _is_winograd(kernel)
            if on_request and kernel.cost(step.site) < step.kernel.cost(step.site):
                chosen[step.site.op.name] = kernel.name
    return Schedule.of(chosen)


def _winograd(network: Network, isa: frozenset[str], where: Winograd | None, base: Schedule) -> Schedule:
    most = ARENA * lower(network, "net", isa).memory.arena_bytes
    gains: list[tuple[float, str, Kernel]] = []
    for step in lower(network, "net", isa, base).steps:
        for kernel in registry.candidates(step.site):
            gain = step.kernel.cost(step.site) - kernel.cost(step.site)
            if _is_winograd(kernel) and gain > 0 and _in_scratch(kernel) == (where == "scratch"):
                gains.append((gain, step.site.op.name, kernel))
    chosen = {layer: entry.name for layer, entry in base.layers.items()}
    done: set[str] = set()
    for _, layer, kernel in sorted(gains, key=lambda item: (-item[0], item[1])):
        tried = {**chosen, layer: kernel.name}
        arena = lower(network, "net", isa, Schedule.of(tried)).memory.arena_bytes
        if layer not in done and (where == "flash" or arena <= most):
            chosen = tried
            done.add(layer)
    return Schedule.of(chosen)
