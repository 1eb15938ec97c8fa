# SPDX-License-Identifier: Apache-2.0
"""Stage `tune`: measures every kernel that could execute a layer, on the target, and chooses one per layer.

Firmware *k* executes each layer by its *k*-th candidate, so there are as many firmwares as the layer with the most has
candidates. What was measured is kept in the cache under the digest of the generated project, the target and our own
code: an interrupted tuning goes on from there. The choice is built and measured as a whole and held against the
default, which stays if it fits and is no slower.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plinio_deploy import storage
from plinio_deploy.artifact import Artifact, write_atomically
from plinio_deploy.codegen import Manifest, Options, Schedule, fusion, generate
from plinio_deploy.codegen.lower import lower
from plinio_deploy.codegen.manifest import FILE as MANIFEST
from plinio_deploy.codegen.requested import Requested
from plinio_deploy.codegen.schedule import FILE as SCHEDULE
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DoesNotFit, UsageError
from plinio_deploy.network import Network
from plinio_deploy.pipeline import budget
from plinio_deploy.pipeline.banding import with_bands
from plinio_deploy.pipeline.build import Project
from plinio_deploy.pipeline.calibration.bench import random_sample, roomy
from plinio_deploy.pipeline.candidates import candidates
from plinio_deploy.pipeline.choice import Candidate, Choice, Problem, choose
from plinio_deploy.pipeline.request import Limits
from plinio_deploy.pipeline.stage import Record, StageFolder, digest_json, package_digest, perform
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import build as builder
from plinio_deploy.targets import cache, runners, toolchains
from plinio_deploy.targets.runners.base import RunRequest, count_request
from plinio_deploy.targets.schema import Target

TUNING = "tuning.json"

FACTOR = 3.0
"""Without limits on memory, candidates that are estimated to cost more than so many times the default are left out."""

TRIES = 8
"""Choices that are built when code turns out larger than the sum of its layers."""

_OWN = tuple(f"pipeline/{name}.py" for name in ("tuning", "candidates", "choice", "budget", "banding"))
_CODE = ("targets", "firmware", "codegen", "pipeline/calibration/bench.py", *_OWN)

_NOTHING = Requested()


@dataclass(frozen=True)
class Measured:
    """What one firmware took.

    Attributes:
        layers: each layer's candidate, in execution order.
        total: of one inference, calls between layers included.
        unit: ``cycles`` or ``instructions``.
        flash: bytes of the firmware that are no layer's: start-up, bench, calls between layers, alignment.
    """

    layers: tuple[Candidate, ...]
    total: int
    unit: str
    flash: int


def run(
    folder: StageFolder,
    network: Network,
    target: Target,
    limits: Limits,
    options: Options,
    terminal: Terminal,
    asked: Requested | None = None,
) -> Record:
    """Tune, unless that has been done; leaves ``schedule.json`` and ``tuning.json``.

    Args:
        folder: where the stage keeps its result.
        network: the integer network.
        target: what to tune for.
        limits: on flash and RAM of the firmware.
        options: of the code generator; features and schedule are the tuner's business.
        terminal: told what goes on.
        asked: kernels on request that may be taken, or may not; where nothing is said they may under a limit on memory.

    Raises:
        DoesNotFit: no choice was found within the limits.
        UsageError: the target counts nothing.
        ToolMissing, BuildFailed, DeviceError: see `plinio_deploy.targets`.
    """
    if not target.counts:
        raise UsageError(
            "the host counts neither cycles nor instructions, so there is nothing to tune for",
            got=target.name,
            hints=("tune for a target that QEMU or an RTL model runs: plinio-deploy targets list",),
        )
    inputs = {
        "network": storage.digest(network),
        "target": digest_json(target.model_dump(mode="json")),
        "limits": digest_json(dict(limits.given())),
        "asked": digest_json(asdict(asked or Requested())),
        "prefix": options.prefix,
        "compiler": toolchains.require(target.toolchain).banner,
        "code": package_digest(*_CODE),
    }

    def make(work: Path) -> Mapping[str, Any]:
        schedule, document = tune(network, target, limits, options, terminal, asked or Requested())
        write_atomically(work / SCHEDULE, schedule.dump())
        write_atomically(work / TUNING, (json.dumps(document, indent=2) + "\n").encode())
        return {"target": target.name, **{key: document[key] for key in ("unit", "default", "tuned")}}

    return perform(folder, inputs, terminal, make)


def tune(
    network: Network,
    target: Target,
    limits: Limits,
    options: Options,
    terminal: Terminal,
    asked: Requested = _NOTHING,
) -> tuple[Schedule, dict[str, Any]]:
    """The schedule that costs least within the limits, and how it was found (``tuning.json``).

    Under a limit on RAM, adds that execute the convolution before them (`codegen.fusion`; also where asked for, not
    where ruled out) and layers in bands of rows (`codegen.bands`) are tried as well.

    Raises:
        DoesNotFit: no choice was found within the limits.
    """
    bases, along = [Schedule()], asked.adds_along
    if along or (along is None and limits.ram is not None):
        bases.append(fusion.everywhere(network, frozenset(target.features)))
    if limits.ram is not None:
        bases.append(with_bands(network, target, limits, replace(options, schedule=Schedule()), terminal).schedule)
    bases = [base for index, base in enumerate(bases) if index == 0 or base != Schedule()]
    found: list[tuple[Schedule, dict[str, Any]]] = []
    missed: list[DoesNotFit] = []
    for base in bases:
        try:
            given = replace(options, isa=target.features, schedule=base)
            found.append(_tune(network, target, limits, given, terminal, asked))
        except DoesNotFit as error:
            missed.append(error)
    if not found:
        raise missed[-1]
    schedule, document = min(found, key=lambda item: item[1]["tuned"]["total"])
    options = replace(options, isa=target.features, schedule=Schedule())
    (default,) = _measure_all([options], network, target, terminal)
    basis = _sizes(network, target, options) if _bounded(limits) else None
    firmwares = sum(item["firmwares"] for _, item in found)
    return schedule, {**document, "default": {"total": default.total, **_memory(basis)}, "firmwares": firmwares}


def _bounded(limits: Limits) -> bool:
    return bool({"flash", "ram"} & set(limits.given()))


def _tune(
    network: Network, target: Target, limits: Limits, options: Options, terminal: Terminal, asked: Requested
) -> tuple[Schedule, dict[str, Any]]:
    """`tune` for the steps that a schedule leads to; its default kernels take the place of the default."""
    bounded = _bounded(limits)
    names = candidates(network, target, factor=None if bounded else FACTOR, base=options.schedule, asked=asked)
    ranks = max(map(len, names.values()), default=1)
    whole = [tuple(min(rank, len(able) - 1) for able in names.values()) for rank in range(ranks)]
    tried = [_chosen(names, choice, options) for choice in whole]
    measured = _measure_all(tried, network, target, terminal)
    layers = [
        [_of_rank(measured[rank].layers[index], rank) for rank in range(len(able))]
        for index, able in enumerate(names.values())
    ]
    default = whole[0]
    around = [firmware.flash for firmware in measured]
    choice, sizes = _within(network, target, limits, options, names, layers, dict(zip(whole, around, strict=True)))
    tuned, basis = measured[0], _sizes(network, target, options) if bounded else None
    if choice != default:
        (tuned,) = _measure_all([_chosen(names, choice, options)], network, target, terminal)
        fits = basis is None or not budget.excess({target.name: basis}, limits, slack=0.0)
        if fits and tuned.total >= measured[0].total:
            choice, tuned, sizes = default, measured[0], basis
    document = {
        "schema": 1,
        "target": target.name,
        "network_digest": storage.digest(network),
        "unit": tuned.unit,
        "default": {"total": measured[0].total, **_memory(basis)},
        "tuned": {"total": tuned.total, **_memory(sizes)},
        "limits": dict(limits.given()),
        "firmwares": ranks + (choice != default),
        "layers": [
            {
                "name": name,
                "chosen": able[index].kernel,
                "candidates": [
                    {"kernel": item.kernel, "cost": item.cost, "flash_bytes": item.alone, "scratch_bytes": item.scratch}
                    for item in able
                ],
            }
            for (name, able, index) in zip(names, layers, choice, strict=True)
        ],
    }
    return _chosen(names, choice, options).schedule, document


def schedules(
    workspace: Workspace,
    network: Network,
    targets: Sequence[Target],
    limits: Limits,
    options: Options,
    terminal: Terminal,
    *,
    always: bool,
) -> dict[str, Schedule]:
    """The schedules of a run's targets, by name; those that are not in it keep the default kernels.

    Args:
        workspace: of the run.
        network: the integer network.
        targets: those with kernels of their own that miss a limit on memory with them are tuned for it: fast kernels
            where they gain most per byte. Others that miss a limit on RAM run layers in bands of rows. Where that finds
            nothing, the check at the end says what is missed.
        limits: of the firmware.
        options: of the code generator.
        terminal: told what goes on.
        always: tune for every target that counts something.
    """
    found: dict[str, Schedule] = {}
    for target in targets:
        over: Mapping[str, float] = {}
        tunable = target.counts and (always or bool(target.features))
        if tunable and _bounded(limits):
            over = budget.excess(budget.sizes(network, (target,), options), limits, slack=0.0)
        if not tunable and limits.ram is not None:
            found[target.name] = with_bands(network, target, limits, options, terminal).schedule
        if not (tunable and (always or over)):
            continue
        folder = workspace.tune(target.name)
        try:
            run(folder, network, target, limits, options, terminal)
        except DoesNotFit as error:
            terminal.note(f"{target.name}: {error}")
            continue
        found[target.name] = Schedule.load(folder.path / SCHEDULE)
        if over:
            text = ", ".join(f"{name} by {value:.0f} bytes" for name, value in over.items())
            how = "smaller kernels in places" if found[target.name].bands is None else "layers in bands of rows"
            terminal.note(f"{target.name}: {how}, for the fast ones miss the limit on {text}")
    return found


def _chosen(names: Mapping[str, Sequence[str]], choice: Choice, options: Options) -> Options:
    kernels = {layer: able[index] for (layer, able), index in zip(names.items(), choice, strict=True)}
    return replace(options, schedule=Schedule.of(kernels, options.schedule.bands))


def _of_rank(candidate: Candidate, rank: int) -> Candidate:
    """The same with parts that are told from those of other firmwares, whose symbols may be equal."""
    return replace(candidate, parts={f"{rank}:{name}": size for name, size in candidate.parts.items()})


def _memory(sizes: budget.Sizes | None) -> dict[str, int]:
    return {} if sizes is None else {"flash_bytes": sizes.flash, "ram_bytes": sizes.ram, "arena_bytes": sizes.arena}


def _sizes(network: Network, target: Target, options: Options) -> budget.Sizes:
    return budget.sizes(network, (target,), options)[target.name]


def _within(
    network: Network,
    target: Target,
    limits: Limits,
    options: Options,
    names: Mapping[str, Sequence[str]],
    layers: Sequence[Sequence[Candidate]],
    around: Mapping[Choice, int],
) -> tuple[Choice, budget.Sizes | None]:
    """The best choice whose firmware, built as a whole, stays within the limits, and what it takes.

    ``around``: bytes of flash besides those of the layers, of the choices that were measured.
    """
    if limits.flash is None and limits.ram is None:
        choice = choose(Problem(layers))
        assert choice is not None, "without limits every choice is possible"
        return choice, None

    @functools.cache
    def arena(choice: Choice) -> int:
        schedule = _chosen(names, choice, options).schedule
        return lower(network, options.prefix, frozenset(target.features), schedule).memory.arena_bytes

    @functools.cache
    def sizes_of(choice: Choice) -> budget.Sizes:
        return _sizes(network, target, _chosen(names, choice, options))

    problem = Problem(layers)
    smallest = tuple(min(range(len(able)), key=lambda index: (able[index].alone, index)) for able in layers)
    sizes = sizes_of(smallest)
    around = {**around, smallest: sizes.flash - problem.flash(smallest)}
    # What surrounds the layers depends a little on their kernels. The least is taken; a firmware that turns out larger
    # than that says how much it is.
    rest = {"flash": min(around.values()), "ram": sizes.ram - sizes.arena}
    for _ in range(TRIES):
        given = [(name, getattr(limits, name)) for name in rest]
        room = {name: None if limit is None else limit - rest[name] for name, limit in given}
        chosen = choose(replace(problem, max_flash=room["flash"], max_arena=room["ram"], arena=arena))
        if chosen is None:
            break
        sizes = sizes_of(chosen)
        if not budget.excess({target.name: sizes}, limits, slack=0.0):
            return chosen, sizes
        rest = {
            "flash": max(rest["flash"], sizes.flash - problem.flash(chosen)),
            "ram": max(rest["ram"], sizes.ram - sizes.arena),
        }
    for choice in sorted(around, key=lambda choice: (problem.cost(choice), choice)):
        sizes = sizes_of(choice)
        if not budget.excess({target.name: sizes}, limits, slack=0.0):
            return choice, sizes
    raise DoesNotFit(
        f"no choice of kernels was found for {target.name} within the limits",
        got=", ".join(f"{name} {getattr(sizes, name)}" for name in limits.given() if name != "cycles"),
        expected=", ".join(f"at most {limit} of {name}" for name, limit in limits.given().items() if name != "cycles"),
        hints=("raise the limits", "search for a smaller network: plinio-deploy run --methods pit,mps"),
    )


def _measure_all(tried: Sequence[Options], network: Network, target: Target, terminal: Terminal) -> list[Measured]:
    """Each options' firmware, as many at a time as there are processors."""
    measured = []
    with terminal.progress(f"tune {target.name}", len(tried)) as advance, ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(lambda options: measure(network, target, options), tried):
            measured.append(result)
            advance(len(measured), f"{result.total} {result.unit}")
    return measured


def measure(network: Network, target: Target, options: Options) -> Measured:
    """One inference on random codes, with all the memory of the emulator; from the cache if it was measured before."""
    artifact = generate(network, options)
    roomier = roomy(target)
    key = [
        artifact.digest(),
        roomier.model_dump(mode="json"),
        toolchains.require(target.toolchain).banner,
        package_digest(*_CODE),
    ]
    path = cache.file(
        "tuning", f"{digest_json(key)}.json", lambda work: _write(work, artifact, network, roomier, options)
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    return Measured(**{**document, "layers": tuple(Candidate(**item) for item in document["layers"])})


def _write(work: Path, artifact: Artifact, network: Network, target: Target, options: Options) -> Path:
    manifest = Manifest.parse(artifact.files[MANIFEST])
    built = builder.build(artifact, Project(artifact, manifest).inputs, target, work / "build")
    count = count_request(built.image, [step.symbol for step in manifest.steps], prefix=manifest.prefix)
    request = RunRequest("outputs", random_sample(network), 1, count, timeout_s=600.0)
    result = runners.for_target(target).run(built.elf, request)
    counted = result.cycles or result.instructions
    assert counted is not None, "this runner counts"
    program = lower(network, options.prefix, frozenset(options.isa), options.schedule)
    layers = [
        Candidate(entry.kernel, counted.by_symbol[entry.symbol], flash, step.scratch_bytes, parts)
        for entry, step, (flash, parts) in zip(
            manifest.steps, program.steps, budget.flash_of_layers(built.image, manifest), strict=True
        )
    ]
    taken = Problem([[layer] for layer in layers]).flash(tuple(0 for _ in layers))
    unit = "instructions" if result.cycles is None else "cycles"
    path = work / "result.json"
    found = Measured(tuple(layers), counted.total, unit, built.image.flash_bytes - taken)
    path.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return path
