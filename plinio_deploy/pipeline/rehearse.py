# SPDX-License-Identifier: Apache-2.0
"""The rest of the line once with untrained weights: what cannot be built or does not fit is known before training.

Sizes depend on the architecture; weights move a firmware by a few bytes at most. Everything goes to a temporary folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from plinio_deploy.codegen import Manifest, Options, generate
from plinio_deploy.codegen.manifest import FILE as MANIFEST
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DoesNotFit, UnsupportedModel
from plinio_deploy.network import Network
from plinio_deploy.pipeline import budget
from plinio_deploy.pipeline.banding import with_bands
from plinio_deploy.pipeline.build import Project, room_for
from plinio_deploy.pipeline.request import Limits
from plinio_deploy.pipeline.train import CHECKED_SAMPLES, Trainer
from plinio_deploy.targets import build as builder
from plinio_deploy.targets.schema import Region, Target

SLACK = 1 / 50
"""Share of a memory by which a rehearsed firmware may exceed it: trained weights may save as much."""

LIMIT_SLACK = 1 / 10
"""The same of a limit: kernels that are chosen layer by layer under it may save more than those rehearsed."""


def rehearse(
    trainer: Trainer, targets: Sequence[Target], options: Options, terminal: Terminal, limits: Limits | None = None
) -> None:
    """Integerize, generate and build for every target, with weights as they are before training.

    Args:
        trainer: knows the recipe and its data.
        targets: to build for.
        options: of the code generator.
        terminal: told what goes on.
        limits: of the firmware; where one is on RAM, layers may run in bands of rows to fit, where one is on flash,
            they may have smaller kernels (see `tuning.schedules`).

    Raises:
        DoesNotFit: the firmware is larger than a target's memory, by more than `SLACK`, whatever limits allow, or than
            a limit, by more than `LIMIT_SLACK`.
        BuildFailed: a compiler refused the generated C.
        OutputError: there is no room for temporary files.
    """
    network = _untrained(trainer, terminal)
    if network is None:
        return
    limits = limits or Limits()
    for target in targets:
        whole = replace(options, isa=target.features)
        ways = list(_ways(network, target, whole, limits, terminal))
        if not any(_fits(network, way, target) for _, way in ways):
            _build(network, whole, target)  # says by how much it exceeds the memory without slack
        _require_limits(network, ways, limits)


def _ways(
    network: Network, target: Target, whole: Options, limits: Limits, terminal: Terminal
) -> Iterator[tuple[Target, Options]]:
    """How to generate for a target: as a whole first, then what later stages take instead under these limits."""
    yield target, whole
    kernels = (target, budget.portable(target)) if limits.flash is not None else (target,)
    for kind in kernels:
        options = with_bands(network, kind, limits, whole, terminal)
        if options != whole:
            yield kind, options


def _require_limits(network: Network, ways: Sequence[tuple[Target, Options]], limits: Limits) -> None:
    """Refuse limits that no way of generating comes near.

    Raises:
        DoesNotFit: with what the last one, which is the smallest, takes.
    """
    missed: Mapping[str, float] = {}
    sizes: Mapping[str, budget.Sizes] = {}
    bounded = bool({"flash", "ram"} & set(limits.given()))
    for kind, options in ways if bounded else ():
        sizes = budget.sizes(network, (kind,), options)
        missed = budget.excess(sizes, limits, -LIMIT_SLACK)
        if not missed:
            return
    for name in missed:
        raise DoesNotFit(
            f"the network does not come near the limit on {name}, whatever its weights will be",
            where=f"--max-{name}",
            got=f"{getattr(sizes[ways[-1][0].name], name)} bytes on {ways[-1][0].name}",
            expected=f"at most {limits.given()[name]}",
            hints=("search for a smaller network: --methods pit,mps", f"raise --max-{name}"),
        )


def _fits(network: Network, options: Options, target: Target) -> bool:
    try:
        _build(network, options, _with_slack(target))
    except DoesNotFit:
        return False
    return True


def _build(network: Network, options: Options, target: Target) -> None:
    artifact = generate(network, options, None)
    project = Project(artifact, Manifest.parse(artifact.files[MANIFEST], MANIFEST))
    with TemporaryDirectory() as folder, room_for(Path(folder), "free some space, or set TMPDIR to another folder"):
        builder.build(artifact, project.inputs, target, Path(folder))


def _untrained(trainer: Trainer, terminal: Terminal) -> Network | None:
    """The integer network of the untrained model; ``None`` if its numbers, unlike trained ones perhaps, do not fit."""
    from plinio_deploy.integerize import integerize
    from plinio_deploy.recipes import training
    from plinio_deploy.recipes.batches import iterate

    recipe = trainer.recipe
    qnet = training.make_qnet(recipe, training.build_model(recipe, trainer.training.seed))
    x, _ = next(iterate(trainer.data.train, CHECKED_SAMPLES, None))
    qnet.calibrate([x[:CHECKED_SAMPLES]])
    try:
        return integerize(qnet, recipe.name)
    except UnsupportedModel as error:
        terminal.detail(f"  not rehearsed: {error.what}")
        return None


def _with_slack(target: Target) -> Target:
    if target.memory is None:
        return target
    flash, ram = (
        Region.model_construct(base=region.base, size=int(region.size * (1 + SLACK)))
        for region in (target.memory.flash, target.memory.ram)
    )
    memory = target.memory.model_copy(update={"flash": flash, "ram": ram})
    return target.model_copy(update={"memory": memory})
