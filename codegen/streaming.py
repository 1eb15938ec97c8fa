# SPDX-License-Identifier: Apache-2.0
"""Which layers to run in bands of rows, so that the arena stays within a limit: the choice that costs least.

What may run in bands are the first layers, up to some layer; each such stage is tried with as many rows per band as
fit. Of those that fit, the one of the least estimated instructions is taken: those of all kernels, of the calls of
bands and of the copies of rows that are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from plinio_deploy.codegen.bands import divide, runs_in_bands
from plinio_deploy.codegen.lower import Program, lower
from plinio_deploy.codegen.schedule import Bands, Schedule
from plinio_deploy.errors import DoesNotFit, UsageError
from plinio_deploy.network import Network

PER_BYTE = 1.0
"""Instructions per byte that is copied."""

PER_CALL = 30.0
"""Instructions per call of a band, besides those of its kernel."""


def within(network: Network, isa: frozenset[str], schedule: Schedule, max_arena: int) -> Schedule:
    """The schedule itself if the arena stays within a limit, else without bands or with those that cost least.

    Args:
        network: verified.
        isa: instruction set features that kernels may use.
        schedule: kernels of layers; bands that it has stay if they suffice.
        max_arena: most bytes of arena.

    Raises:
        DoesNotFit: no bands bring the arena within the limit; says what the least is that some do.
        UsageError: the schedule does not suit the network.
    """
    whole = lower(network, "net", isa, schedule).memory.arena_bytes
    if whole <= max_arena:
        return schedule
    if schedule.bands is not None:
        return within(network, isa, schedule.model_copy(update={"bands": None}), max_arena)
    best: tuple[float, Schedule] | None = None
    least = whole
    for stage in _stages(network):
        reached, fitting = _largest(network, isa, schedule, stage, max_arena)
        least = min(least, reached)
        if fitting is not None and (best is None or fitting[0] < best[0]):
            best = fitting
    if best is None:
        raise DoesNotFit(
            "no bands of rows bring the arena within the limit",
            where=f"{network.name}, which takes {whole} bytes with whole tensors",
            got=f"{least} bytes at least",
            expected=f"at most {max_arena}",
            hints=(f"allow an arena of {least} bytes",),
        )
    return best[1]


def cost(program: Program) -> float:
    """Estimated instructions of a program.

    All layers count: one may need a dearer kernel because the cheapest does not handle its bands.
    """
    total = 0.0
    for step in program.steps:
        copies = sum(copy.nbytes for call in step.calls for copy in (*call.before, *call.after))
        sites = [call.site for call in step.calls] or [step.site]
        total += sum(map(step.kernel.cost, sites)) + PER_BYTE * copies + PER_CALL * len(step.calls)
    return total


def _stages(network: Network) -> Iterator[list[Bands]]:
    """For each last layer, its bands, those of the fewest rows first."""
    first = network.ops[0].name
    for op in network.ops:
        if not runs_in_bands(network, op):
            return
        height = network.tensors[op.output].shape[0]
        rows = sorted({-(-height // count) for count in range(2, height + 1)})
        found = [Bands(first=first, last=op.name, rows=number) for number in rows if op.name != first]
        able = [bands for bands in found if _can_be_made(network, bands)]
        if able:
            yield able


def _can_be_made(network: Network, bands: Bands) -> bool:
    try:
        divide(network, bands)
    except UsageError:
        return False
    return True


def _largest(
    network: Network, isa: frozenset[str], schedule: Schedule, stage: list[Bands], max_arena: int
) -> tuple[int, tuple[float, Schedule] | None]:
    """The least arena met with, and the largest bands within the limit, with what they cost.

    The arena is taken to grow with the rows; where it does not, somewhat smaller bands than possible may be found.
    """
    least, fitting = sys.maxsize, None
    low, middle, high = 0, 0, len(stage) - 1
    while low <= high:
        tried = schedule.model_copy(update={"bands": stage[middle]})
        try:
            program = lower(network, "net", isa, tried)
        except UsageError:
            # The schedule has a kernel that takes larger bands only, or none, such as that of an add along.
            low = middle + 1
        else:
            least = min(least, program.memory.arena_bytes)
            if program.memory.arena_bytes <= max_arena:
                fitting, low = (cost(program), tried), middle + 1
            else:
                high = middle - 1
        middle = (low + high + 1) // 2
    return least, fitting
