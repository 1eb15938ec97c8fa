# SPDX-License-Identifier: Apache-2.0
"""Calibration of one target: measure the design, fit a table, measure what the fit never saw, write the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plinio_deploy.artifact import write_atomically
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DeviceError
from plinio_deploy.network import Network
from plinio_deploy.pipeline.calibration import bench, design
from plinio_deploy.pipeline.calibration.bench import Run
from plinio_deploy.pipeline.calibration.micro import Spec
from plinio_deploy.pipeline.calibration.table import dump
from plinio_deploy.pipeline.calibration.validate import validate
from plinio_deploy.pipeline.stage import writing
from plinio_deploy.targets import luts, registry
from plinio_deploy.targets.calibration.fitting import Origin, Point, fit
from plinio_deploy.targets.calibration.geometry import Geometry, of_op
from plinio_deploy.targets.luts import Lut, Validation
from plinio_deploy.targets.schema import Target

FIT, HELD_OUT = "fit", "held out 9"
"""Names of the two designs: drawn alike, never the same layers."""

HELD_OUT_SHARE = 0.3

LEAST = 12
"""Layers that every kernel should get at each pair of widths, if it ever is chosen there."""

RARE, MORE = 40, 30
"""A kernel that is not the usual one at a pair of widths gets some more layers if it has fewer than so many."""

LOOKED_AT = 300
"""Layers per op and pair of widths that the code generator is asked about: which kernel would it choose?"""

MIXED_LOOKED_AT = 16.0
"""Of layers of several widths, as a share of `design.MIXED`."""

RARER_LOOKED_AT = 3.0
"""Of linear layers of many outputs, short vectors and sums of two widths, as a share of what is measured."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        share: of the design.
        typical: multiply-accumulates of a layer, see `design.TYPICAL`.
    """

    share: float = 1.0
    typical: float = design.TYPICAL


SIMULATED = Effort(typical=10_000)
"""For simulators of RTL, which do a few million cycles per second: as many layers, smaller ones."""


def effort_of(target: Target) -> Effort:
    """What is reasonable on a target's runner."""
    return SIMULATED if target.runner == "rtl" else Effort()


@dataclass(frozen=True)
class Measured:
    """What a set of layers took.

    Attributes:
        points: layers, those that run no code left out.
        runs: the firmwares.
    """

    points: tuple[Point, ...]
    runs: tuple[Run, ...]


def calibrate(name: str, terminal: Terminal, out: Path | None = None, effort: Effort | None = None) -> Lut:
    """Make the table of a target, validate it and write it.

    Args:
        name: of the target.
        terminal: told what goes on.
        out: folder for ``<target>.json``; None: beside the tables that come with the package.
        effort: None: what is reasonable on the target's runner.

    Raises:
        UnknownTarget, UsageError: no such target, or one that counts nothing.
        ToolMissing, BuildFailed, DeviceError: see `plinio_deploy.targets`.
        OutputError: the table cannot be written.
    """
    target = registry.load(name)
    effort = effort or effort_of(target)
    fitted = chosen(target, effort)
    lut = make(target, terminal, fitted)
    lut = lut.model_copy(update={"validation": check(lut, target, terminal, effort, fitted)})
    folder = luts.FOLDER if out is None else out
    path = folder / f"{target.name}.json"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dump(lut).encode())
    terminal.note(f"table: {path}")
    return lut


def validate_table(name: str, terminal: Terminal) -> Lut:
    """The table of a target with its validation measured anew; nothing is written.

    A table that was fitted to other kernels than today's is named: its errors are those of both.
    """
    target, lut = registry.load(name), luts.load(name)
    if is_stale(lut, target):
        terminal.warn(
            f"{name}: kernels have changed since this table was fitted; `calibrate` without --validate fits anew"
        )
    effort = effort_of(target)
    found = check(lut, target, terminal, effort, chosen(target, effort))
    return lut.model_copy(update={"validation": found})


def check(lut: Lut, target: Target, terminal: Terminal, effort: Effort, fitted: Collection[Spec]) -> Validation:
    """Errors on layers and networks that the fit never sees: none of ``fitted``."""
    seen = set(fitted)
    share = HELD_OUT_SHARE * effort.share
    drawn = design.layers(HELD_OUT, share, effort.typical)
    drawn += design.ragged(HELD_OUT, share, effort.typical) + _rarer(HELD_OUT, share, effort.typical)
    specs = [spec for spec in drawn if spec not in seen]
    return validate(lut, target, terminal, specs, HELD_OUT)


def is_stale(lut: Lut, target: Target) -> bool:
    """Whether the code generator has changed what it writes for this target since the table was fitted."""
    return lut.kernels is not None and lut.kernels != bench.digest(_sample(), target)


def chosen(target: Target, effort: Effort) -> list[Spec]:
    """Layers of the fit: the design, and those that its kernels want besides."""
    specs = complete(design.layers(FIT, effort.share, effort.typical), target, effort.typical)
    specs += _further(effort)
    return specs + rare(specs, target)


def make(target: Target, terminal: Terminal, specs: Sequence[Spec]) -> Lut:
    """Measure layers and fit; see `calibrate`."""
    terminal.note(f"{target.name}: {len(specs)} layers")
    found = measure(specs, target, terminal, "fit")
    if not found.points:
        raise DeviceError(f"{target.name} counted nothing")
    choices = _choices(specs, target)
    return fit(found.points, choices, _origin(target, found.runs))


def _further(effort: Effort) -> list[Spec]:
    """Layers of the fit that are not drawn by chance alone."""
    share, typical = effort.share, effort.typical
    ragged, moves = design.ragged(FIT, share, typical), design.moves(FIT, share, typical)
    mixed, again = design.mixed(f"{FIT} again", share, typical), design.again(FIT, share, typical)
    pruned = [*design.pruned(FIT, share, typical), *design.tied(FIT, share, typical)]
    rarer, shifted = _rarer(FIT, share, typical), design.shifted(FIT, share, typical)
    return [*ragged, *moves, *design.late(FIT, share), *mixed, *again, *pruned, *rarer, *shifted]


def _rarer(part: str, share: float, typical: float) -> list[Spec]:
    """Layers that `design.layers` has none of, and networks have some of."""
    made = (design.wide, design.narrow, design.unlike)
    return [spec for drawn in made for spec in drawn(part, share, typical)]


def measure(specs: Sequence[Spec], target: Target, terminal: Terminal, name: str) -> Measured:
    """Run layers on a target."""
    networks = bench.layer_networks(specs, name)
    runs = bench.run_all(networks, target, terminal, f"{target.name} {name}")
    points = [point for network, run in zip(networks, runs, strict=True) for point in points_of(network, run)]
    return Measured(tuple(points), tuple(runs))


def points_of(network: Network, run: Run) -> list[Point]:
    """The layers of a network as points of a fit."""
    ops = {op.name: op for op in network.ops}
    points = []
    for layer in run.layers:
        parts = of_op(network, ops[layer.name], layer.kernel)
        value = layer.instructions if layer.cycles is None else layer.cycles
        if parts and value > 0:
            points.append(Point(parts, layer.kernel, float(value)))
    return points


def complete(specs: Sequence[Spec], target: Target, typical: float = design.TYPICAL) -> list[Spec]:
    """The design, and more layers for kernels that would be measured on too few."""
    found = list(specs)
    groups: dict[tuple[Any, ...], list[Spec]] = {}
    for spec in specs:
        if len(spec.w_bits) == 1:
            groups.setdefault(_group(spec), []).append(spec)
    for members in groups.values():
        extra = design.more(FIT, members[0], LOOKED_AT // 4, typical)
        kernels = _kernels([*members, *extra], target)
        own, others = kernels[: len(members)], kernels[len(members) :]
        wanted = min(LEAST, len(members))
        for kernel in sorted(set(others) | set(own)):
            rare = [spec for spec, chosen in zip(extra, others, strict=True) if chosen == kernel]
            found += rare[: max(0, wanted - own.count(kernel))]
    return found


def rare(specs: Sequence[Spec], target: Target) -> list[Spec]:
    """More layers for kernels that execute few of a design, as portable ones do: networks may consist of those."""
    groups: dict[tuple[Any, ...], list[Spec]] = {}
    for spec in specs:
        if len(spec.w_bits) == 1 and spec.op in ("conv", "linear"):
            groups.setdefault(_group(spec), []).append(spec)
    found: list[Spec] = []
    for members in groups.values():
        counts = Counter(_kernels(members, target))
        usual = counts.most_common(1)[0][0]
        wanted = sorted(kernel for kernel, count in counts.items() if kernel != usual and count < RARE)
        asked = design.more("choice", members[0], LOOKED_AT) if wanted else []
        kernels = _kernels(asked, target)
        for kernel in wanted:
            found += [spec for spec, chosen in zip(asked, kernels, strict=True) if chosen == kernel][:MORE]
    return found


def _group(spec: Spec) -> tuple[Any, ...]:
    """Layers that the code generator has the same kernels for."""
    return spec.op, spec.groups > 1, spec.kernel == (1, 1), spec.w_bits, spec.a_bits


def _kernels(specs: Sequence[Spec], target: Target) -> list[str]:
    networks = bench.layer_networks(specs, "look")
    kernels = bench.kernels_of(networks, target)
    return [kernels[f"look{index}"] for index in range(len(specs))]


def _choices(specs: Sequence[Spec], target: Target) -> Mapping[Geometry, str]:
    """Kernels of many more layers than are measured, where the code generator has a choice at all."""
    groups: dict[tuple[Any, ...], Spec] = {}
    for spec in specs:
        if len(spec.w_bits) == 1:
            groups.setdefault(_group(spec), spec)
    asked = [more for spec in groups.values() for more in design.more("choice", spec, LOOKED_AT)]
    asked += design.ragged("choice", LOOKED_AT / design.RAGGED / 4) + design.mixed("choice", MIXED_LOOKED_AT)
    asked += _rarer("choice", RARER_LOOKED_AT, design.TYPICAL) + design.shifted("choice", RARER_LOOKED_AT)
    networks = bench.layer_networks(asked, "look")
    kernels = bench.kernels_of(networks, target)
    ops = [(network, op) for network in networks for op in network.ops if op.name in kernels]
    return {part: kernels[op.name] for network, op in ops for part in of_op(network, op, kernels[op.name])}


def _sample() -> list[Network]:
    """Layers of every op at every pair of widths, for the digest of the generated code."""
    return bench.layer_networks(design.layers("digest", 0.05), "digest")


def _origin(target: Target, runs: Sequence[Run]) -> Origin:
    last = runs[-1]
    cycles = all(run.cycles is not None for run in runs)
    layers = sum(len(run.layers) for run in runs)
    between = sum(
        run.cycles - sum(layer.cycles or 0 for layer in run.layers)
        if cycles and run.cycles is not None
        else run.instructions - sum(layer.instructions for layer in run.layers)
        for run in runs
    )
    return Origin(
        target=target.name,
        unit="cycles" if cycles else "instructions",
        source="instructions" if not cycles or last.source is None else last.source,  # type: ignore[arg-type]
        conditions=last.conditions,
        tools=last.tools,
        kernels=bench.digest(_sample(), target),
        call=round(between / max(layers, 1), 2),
    )
