# SPDX-License-Identifier: Apache-2.0
"""The whole line, and each stage of it alone: who needs whose result, in which order, and what is checked first.

::

    recipe -> train -> (search ->) integerize -> generate -> build -> measure -> report
              `------------ once per run -------------'   `- once per target -'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plinio_deploy import storage
from plinio_deploy.codegen import Options, Schedule, requested, streaming
from plinio_deploy.codegen.names import check_prefix
from plinio_deploy.codegen.requested import Requested
from plinio_deploy.console import Terminal
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Network
from plinio_deploy.pipeline import (
    budget,
    build,
    generate,
    integerize,
    measure,
    preflight,
    report,
    search,
    train,
    tuning,
)
from plinio_deploy.pipeline.rehearse import rehearse
from plinio_deploy.pipeline.request import METHODS, Request
from plinio_deploy.pipeline.stage import Record
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets.schema import Target
from plinio_deploy.testdata import TestData, load_test_data


@dataclass(frozen=True)
class Result:
    """What a run did.

    Attributes:
        measurements: ``measurement.json`` of each target, in the order asked for.
        stages: name of each stage, and whether its result was kept from an earlier run.
    """

    measurements: list[dict[str, Any]]
    stages: list[dict[str, Any]]


def run_line(request: Request, terminal: Terminal) -> Result:
    """From recipe to report.

    Everything that can be known to be wrong is found before anything is written. Stages whose results are there
    already are kept.

    Raises:
        PlinioDeployError: any of its leaves.
    """
    targets = preflight.load_targets(request.targets)
    preflight.require_tools(targets, measuring=True)
    options = Options(prefix=check_prefix(request.prefix))
    workspace = request.workspace
    workspace.check_writable()
    search.check(request.search, targets)
    task = _task(request, targets, options, terminal)
    if workspace.train.current(task.trainer.inputs) is None:
        if request.search.methods:
            search.rehearse(task, terminal)
        else:
            rehearse(task.trainer, targets, options, terminal, request.search.limits)
    with workspace.locked():
        made = _made(workspace, task, terminal)
        network, data = _integerized(workspace)
        schedules = tuning.schedules(
            workspace, network, targets, request.search.limits, options, terminal, always=request.tune
        )
        generated, folders = _generate(workspace, targets, network, data, options, schedules, terminal)
        projects = {name: build.Project(*generate.load_project(folder)) for name, folder in folders.items()}
        project = projects[targets[0].name] if targets else _project(workspace)
        bench = _bench(request, network, project)
        bench.reference()
        built, measured, documents = {}, {}, []
        for target in targets:
            built[target.name] = build.run(workspace.build(target.name), projects[target.name], target, terminal)
        for target in targets:
            record, document = _measure(workspace, bench.of(projects[target.name]), target, terminal)
            measured[target.name] = record
            documents.append(document)
        facts = {**made["train"].facts, **({"search": made["search"].facts} if "search" in made else {})}
        manifest = project.manifest
        reported = report.run(workspace.report, network, request.recipe, facts, manifest, documents, terminal)
    bench.metrics.check()
    budget.check(documents, request.search.limits)
    return Result(documents, _stages({**made, **generated}, built, measured, reported))


def train_only(request: Request, terminal: Terminal) -> Record:
    """Stage `train` alone."""
    request.workspace.check_writable()
    trainer = train.prepare(request, terminal)
    with request.workspace.locked():
        return train.run(request.workspace.train, trainer, terminal)


def integerize_only(request: Request, terminal: Terminal) -> Record:
    """Stages `train` (unless it is done), `search` if methods are given, and `integerize`."""
    return _through(request, terminal)["integerize"]


def search_only(request: Request, terminal: Terminal) -> Record:
    """Stages `train` (unless it is done) and `search`."""
    if not request.search.methods:
        raise UsageError("nothing to search with", expected="--methods, out of " + ", ".join(METHODS))
    return _through(request, terminal, last="search")["search"]


def _through(request: Request, terminal: Terminal, last: str = "integerize") -> dict[str, Record]:
    """From the recipe to a stage that needs no target."""
    targets = preflight.load_targets(request.targets)
    preflight.require_tools(targets, measuring=False)
    request.workspace.check_writable()
    search.check(request.search, targets)
    task = _task(request, targets, Options(prefix=check_prefix(request.prefix)), terminal)
    with request.workspace.locked():
        return _made(request.workspace, task, terminal, last)


def _task(request: Request, targets: Sequence[Target], options: Options, terminal: Terminal) -> search.Task:
    """Recipe and data, ready to be trained. Where a search follows, its end trains with quantizers, not the model's."""
    chosen = request.training
    if request.search.methods:
        request = replace(request, training=replace(chosen, qat_epochs=0))
    return search.Task(train.prepare(request, terminal), request.search, targets, options, chosen.qat_epochs)


def _made(workspace: Workspace, task: search.Task, terminal: Terminal, last: str = "integerize") -> dict[str, Record]:
    """Everything that is made once per run and takes torch: `train`, `search` if methods are given, `integerize`."""
    trained = train.run(workspace.train, task.trainer, terminal)
    made = {"train": trained}
    source = integerize.from_training(task.trainer, trained, workspace.train.path)
    if task.search.methods:
        searched = made["search"] = search.run(workspace.search, task, trained, workspace.train.path, terminal)
        source = integerize.Source(
            searched,
            lambda: search.load(task, workspace.search.path),
            float(searched.facts["quantized_metric"]),
            float(searched.facts["seed_metric"]),
        )
    if last == "integerize":
        made["integerize"] = integerize.run(workspace.integerize, task.trainer, source, terminal)
    return made


def generate_only(
    request: Request,
    network_folder: Path | None,
    terminal: Terminal,
    schedule: Path | None = None,
    max_arena: int | None = None,
) -> Record:
    """Stage `generate` alone.

    Args:
        request: names the folder of the run, the prefix, and kernels that were asked for.
        network_folder: where the network lies; ``None`` for the run's own.
        terminal: told what goes on.
        schedule: file with the kernels of layers; ``None`` takes the cheapest.
        max_arena: bytes of arena above which first layers run in bands of rows; ``None`` for no limit.

    Raises:
        UsageError: the schedule cannot be read or does not suit the network, or kernels were asked for besides.
        DoesNotFit: no bands bring the arena within the limit.
    """
    workspace = request.workspace
    folder = workspace.integerize.path if network_folder is None else network_folder
    _expect(folder / storage.STRUCTURE_FILE, "an integer network", "plinio-deploy integerize RECIPE --out", workspace)
    network = storage.load(folder)
    data = load_test_data(folder)[0] if (folder / "test_data.npz").exists() else None
    targets = preflight.load_targets(request.targets)
    isa = targets[0].features if targets else ()
    if schedule is not None and request.kernels != Requested():
        raise UsageError(
            "a schedule says which kernels to take, so none can be asked for besides",
            where=str(schedule),
            hints=("leave --winograd, --adds-along and --wide to the tuner: plinio-deploy tune",),
        )
    asked = requested.schedule(network, frozenset(isa), request.kernels)
    chosen = asked if schedule is None else Schedule.load(schedule)
    options = Options(prefix=check_prefix(request.prefix), isa=isa, schedule=chosen)
    if max_arena is not None:
        banded = streaming.within(network, frozenset(options.isa), options.schedule, max_arena)
        options = replace(options, schedule=banded)
    workspace.check_writable()
    with workspace.locked():
        for target in targets:
            workspace.generate_scheduled(target.name).discard()  # this one takes its place
        return generate.run(workspace.generate, network, data, options, terminal)


def tune_only(request: Request, terminal: Terminal) -> dict[str, Record]:
    """Stage `tune` alone, for every target asked for, within the limits on flash and RAM."""
    targets = preflight.load_targets(request.targets)
    preflight.require_tools(targets, measuring=True)
    workspace, options = request.workspace, Options(prefix=check_prefix(request.prefix))
    folder = workspace.integerize.path
    _expect(folder / storage.STRUCTURE_FILE, "an integer network", "plinio-deploy integerize RECIPE --out", workspace)
    network, limits = storage.load(folder), request.search.limits
    workspace.check_writable()
    with workspace.locked():
        return {
            target.name: tuning.run(
                workspace.tune(target.name), network, target, limits, options, terminal, request.kernels
            )
            for target in targets
        }


def build_only(request: Request, terminal: Terminal) -> dict[str, Record]:
    """Stage `build` alone, for every target asked for."""
    targets = preflight.load_targets(request.targets)
    preflight.require_tools(targets, measuring=False)
    workspace = request.workspace
    projects = {target.name: _project_for(workspace, target) for target in targets}
    workspace.check_writable()
    with workspace.locked():
        return {
            target.name: build.run(workspace.build(target.name), projects[target.name], target, terminal)
            for target in targets
        }


def measure_only(request: Request, terminal: Terminal) -> list[dict[str, Any]]:
    """Stage `measure` alone, for every target asked for; the firmware must be there."""
    targets = preflight.load_targets(request.targets)
    preflight.require_tools(targets, measuring=True)
    workspace = request.workspace
    network, _ = _integerized(workspace)
    projects = {target.name: _project_for(workspace, target) for target in targets}
    for target in targets:
        _expect_firmware(workspace, target, projects[target.name])
    workspace.check_writable()
    with workspace.locked():
        bench = _bench(request, network, projects[targets[0].name] if targets else _project(workspace))
        documents = [_measure(workspace, bench.of(projects[target.name]), target, terminal)[1] for target in targets]
    bench.metrics.check()
    return documents


def report_only(request: Request, terminal: Terminal) -> Record:
    """Stage `report` alone, over every measurement of the folder that is about its network."""
    workspace = request.workspace
    network, _ = _integerized(workspace)
    project = _project(workspace)
    digest = storage.digest(network)
    names = sorted(path.name for path in (workspace.out / "measure").glob("*") if path.is_dir())
    found = [measure.load_measurement(workspace.measure(name)) for name in names]
    documents = [item for item in found if item is not None and item["network_digest"] == digest]
    if not documents:
        raise UsageError(
            f"there is no measurement of this network in {workspace.out}",
            where=str(workspace.out / "measure"),
            hints=(f"plinio-deploy measure --target NAME --out {workspace.out}",),
        )
    workspace.check_writable()
    trained = workspace.train.record()
    facts: Mapping[str, Any] = trained.facts if trained is not None else {}
    searched, integerized = workspace.search.record(), workspace.integerize.record()
    if searched is not None and integerized is not None and integerized.inputs.get("searched") == searched.digest:
        facts = {**facts, "search": searched.facts}
    recipe = str(facts.get("recipe", network.name))
    with workspace.locked():
        return report.run(workspace.report, network, recipe, facts, project.manifest, documents, terminal)


def _integerized(workspace: Workspace) -> tuple[Network, TestData]:
    folder = workspace.integerize.path
    _expect(folder / storage.STRUCTURE_FILE, "an integer network", "plinio-deploy integerize RECIPE --out", workspace)
    return storage.load(folder), load_test_data(folder)[0]


def _generate(
    workspace: Workspace,
    targets: Sequence[Target],
    network: Network,
    data: TestData,
    options: Options,
    schedules: Mapping[str, Schedule],
    terminal: Terminal,
) -> tuple[dict[str, Record], dict[str, Path]]:
    """One project for each set of features and schedule, that of the first target in `generate`, and where each is."""
    records: dict[str, Record] = {}
    made: dict[tuple[tuple[str, ...], bytes], Path] = {}
    folders = {}
    first = tuple(sorted(targets[0].features)) if targets else ()
    for target in targets:
        isa, schedule = tuple(sorted(target.features)), schedules.get(target.name, Schedule())
        key, own = (isa, schedule.dump()), workspace.generate_scheduled(target.name)
        if key in made:
            own.discard()
            folders[target.name] = made[key]
            continue
        # A stage alone finds projects by features; what `generate` holds of the same features has another schedule.
        other = own if schedule != Schedule() or isa == first else workspace.generate_for(isa)
        folder = other if made else workspace.generate
        chosen = replace(options, isa=isa, schedule=schedule)
        records[folder.name] = generate.run(folder, network, data, chosen, terminal)
        folders[target.name] = folder.path / generate.PROJECT
        if folder != own:
            own.discard()
            made[key] = folders[target.name]
    if not targets:
        records[workspace.generate.name] = generate.run(workspace.generate, network, data, options, terminal)
    return records, folders


def _project(workspace: Workspace) -> build.Project:
    folder = workspace.generate.path / generate.PROJECT
    _expect(folder / "manifest.json", "a C project", "plinio-deploy generate --out", workspace)
    return build.Project(*generate.load_project(folder))


def _project_for(workspace: Workspace, target: Target) -> build.Project:
    """The project made for the target or its features from the network of `generate`; else `generate`'s own."""
    default = _project(workspace)
    others = [workspace.generate_scheduled(target.name)]
    if default.manifest.options.get("isa") != sorted(target.features):
        others.append(workspace.generate_for(target.features))
    for stage in others:
        folder = stage.path / generate.PROJECT
        if (folder / "manifest.json").exists():
            other = build.Project(*generate.load_project(folder))
            shared = ("prefix", "network_digest")
            if all(getattr(other.manifest, name) == getattr(default.manifest, name) for name in shared):
                return other
    return default


def _expect_firmware(workspace: Workspace, target: Target, project: build.Project) -> None:
    """Raises `UsageError` if there is no firmware of this very project for the target."""
    folder, again = workspace.build(target.name), f"plinio-deploy build --target {target.name} --out"
    _expect(folder.path / "stage.json", f"firmware for {target.name}", again, workspace)
    record = folder.record()
    if record is not None and record.inputs.get("project") != project.artifact.digest():
        raise UsageError(
            f"the firmware for {target.name} was built from another C project than the one that is there now",
            where=str(folder.path),
            hints=(f"{again} {workspace.out}",),
        )


def _expect(path: Path, what: str, command: str, workspace: Workspace) -> None:
    """Raises `UsageError` that names the command of the stage before, if its result is not there."""
    if not path.exists():
        raise UsageError(
            f"{workspace.out} does not hold {what}",
            where=str(path),
            got="nothing",
            expected=what,
            hints=(f"{command} {workspace.out}", f"plinio-deploy run RECIPE --target NAME --out {workspace.out}"),
        )


def _bench(request: Request, network: Network, project: build.Project) -> measure.Bench:
    data, metrics = load_test_data(request.workspace.integerize.path)
    if request.samples:
        data = data.head(request.samples)
    return measure.Bench(network, data, metrics, project, request.trace_samples)


def _measure(
    workspace: Workspace, bench: measure.Bench, target: Target, terminal: Terminal
) -> tuple[Record, dict[str, Any]]:
    folder = workspace.measure(target.name)
    record = measure.run(folder, bench, target, workspace.build(target.name), terminal)
    document = measure.load_measurement(folder)
    assert document is not None, "a finished measure stage has a document"
    return record, document


def _stages(
    shared: Mapping[str, Record], built: Mapping[str, Record], measured: Mapping[str, Record], reported: Record
) -> list[dict[str, Any]]:
    named: Sequence[tuple[str, Record]] = [
        *shared.items(),
        *((f"build {name}", record) for name, record in built.items()),
        *((f"measure {name}", record) for name, record in measured.items()),
        ("report", reported),
    ]
    return [{"stage": name, "kept": record.kept} for name, record in named]
