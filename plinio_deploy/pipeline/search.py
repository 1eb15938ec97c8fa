# SPDX-License-Identifier: Apache-2.0
"""Stage `search`: layers, channels and widths that suit a price or a limit, between training and integers.

::

    searched/network.safetensors     weights and quantizers of what was found, fine-tuned
    searched/<method>.safetensors    state of each method when it decided
    searched/architecture.json       what each method decided, by layer
    searched/record.jsonl            one line per epoch: phase, loss, validation metric, costs
    searched/pareto.json             validation metric and costs of the seed and of what each method left

torch is imported inside the functions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plinio_deploy.codegen import Options
from plinio_deploy.console import Advance, Terminal
from plinio_deploy.errors import UnsupportedModel, UsageError
from plinio_deploy.network import Network
from plinio_deploy.pipeline import budget, closing
from plinio_deploy.pipeline.request import METHODS, Search
from plinio_deploy.pipeline.stage import Record, StageFolder, digest_json, package_digest, perform
from plinio_deploy.pipeline.train import CHECKED_SAMPLES, FLOAT_WEIGHTS, Trainer
from plinio_deploy.targets.schema import Target

if TYPE_CHECKING:
    from plinio_deploy.quantization import QuantNetwork
    from plinio_deploy.recipes.chain import Chain, Plan
    from plinio_deploy.recipes.goals import Goal
    from plinio_deploy.recipes.loop import Progress

TRIES = 3
"""How often the last method searches at most: once, with tighter limits where the firmware misses the user's, and on a
cost table that has learned from the measurement where it was off."""

_CODE = ("search", "quantization", "recipe.py", "recipes", "integerize", "codegen", "targets", "firmware")
_OWN = ("pipeline/search.py", "pipeline/budget.py", "pipeline/closing.py", "pipeline/calibration")


@dataclass(frozen=True)
class Task:
    """A search that is ready to run.

    Attributes:
        trainer: recipe, data and settings of the training before.
        search: what to search for.
        targets: whose firmware has to stay within the limits; the first one's cycles count.
        options: of the code generator.
        qat_epochs: of training with quantizers in, if MPS is not among the methods, instead of the recipe's.
    """

    trainer: Trainer
    search: Search
    targets: Sequence[Target]
    options: Options
    qat_epochs: int | None = None

    @property
    def in_cycles(self) -> bool:
        """Whether cycles count."""
        return self.search.limits.cycles is not None or self.search.cost == "cycles"

    def sized(self) -> tuple[Target, ...]:
        """The targets with the kernels of which sizes are taken.

        Weights get all the flash that the smallest kernels leave. Where cycles count they are those of the fast
        kernels, so these have to fit as well.
        """
        return tuple(self.targets) if self.in_cycles else tuple(map(budget.portable, self.targets))

    def plan(self) -> Plan:
        """What is searched and for how long."""
        from plinio_deploy.recipes.chain import Plan

        recipe, search, chosen = self.trainer.recipe, self.search, self.trainer.training

        def epochs(own: int, given: int | None) -> int:
            return recipe.budgeted(own, chosen.budget) if given is None else given

        return Plan(
            methods=search.methods,
            goal=self._goal(),
            warmup=epochs(recipe.warmup_epochs, None if search.epochs is None else min(1, search.epochs)),
            search=epochs(recipe.search_epochs, search.epochs),
            tune=epochs(recipe.tune_epochs, search.tune_epochs),
            qat=epochs(recipe.qat_epochs, self.qat_epochs),
            seed=recipe.seed if chosen.seed is None else chosen.seed,
        )

    def _goal(self) -> Goal:
        """What for; the limits are still those of the whole firmware."""
        from plinio_deploy.recipes.goals import Goal

        target = self.targets[0].name if self.in_cycles else None
        limits = {} if self.search.strength is not None else dict(self.search.limits.given())
        return Goal(self.search.cost, self.search.strength, limits, target)


def check(search: Search, targets: Sequence[Target]) -> None:
    """Refuse what cannot be searched for, before anything is trained.

    Raises:
        UsageError: no goal, an unknown method, cycles without a cost table, or a limit on cycles that nothing measures.
    """
    unknown = sorted(set(search.methods) - set(METHODS))
    if unknown:
        raise UsageError("no such method", got=", ".join(unknown), expected="some of " + ", ".join(METHODS))
    if search.methods and search.strength is None and not search.limits.given():
        raise UsageError(
            "a search needs a goal",
            got=f"--methods {','.join(search.methods)} alone",
            expected="--strength, or a limit: --max-flash, --max-ram, --max-cycles",
            hints=("--strength 1 makes all of the initial size as dear as a loss of 1", "--max-flash 32k"),
        )
    if search.limits.cycles is not None or (search.methods and search.cost == "cycles"):
        from plinio_deploy.targets import luts

        if not targets:
            raise UsageError("cycles are those of a target", hints=("name one with --target",))
        luts.load(targets[0].name)
        for target in targets:
            if search.limits.cycles is not None and not target.tells_cycles:
                raise budget.unmeasured(target.name, "cycles", search.limits.cycles)


def run(folder: StageFolder, task: Task, trained: Record, weights: Path, terminal: Terminal) -> Record:
    """Search, unless that has been done; an interrupted search goes on after its last whole epoch.

    Args:
        folder: where the stage keeps its result.
        task: what to search for.
        trained: record of the train stage.
        weights: its folder.
        terminal: told what goes on.

    Raises:
        DoesNotFit: no network was found whose firmware stays within the limits.
        RecipeError, UnsupportedModel, OutputError: see `plinio_deploy.recipes.chain`.
    """
    plan = task.plan()
    inputs = {
        "train": trained.digest,
        "recipe": task.trainer.inputs["recipe"],
        "data": task.trainer.inputs["data"],
        "torch": task.trainer.inputs["torch"],
        "plan": repr(plan),
        "targets": digest_json([target.model_dump(mode="json") for target in task.targets]),
        "options": digest_json(task.options.as_dict()),
        "code": package_digest(*_CODE, *_OWN),
    }

    def make(work: Path) -> Mapping[str, Any]:
        return _search(task, plan, trained, weights / FLOAT_WEIGHTS, work, terminal)

    return perform(folder, inputs, terminal, make, resumable=True)


def load(task: Task, folder: Path) -> QuantNetwork:
    """The network that `run` left.

    Raises:
        UsageError: a file is missing or damaged.
    """
    from plinio_deploy.recipes.chain import rebuilt

    plan = task.plan()
    return rebuilt(task.trainer.recipe, plan.methods, plan.goal, folder)


def rehearse(task: Task, terminal: Terminal) -> dict[str, int]:
    """Bytes that a firmware takes besides the network's constants and activations, from the untrained model.

    With MPS among the methods layers mix widths, for the code that this takes, unless the model fits as it is.

    Raises:
        DoesNotFit: they leave no room for the network.
        BuildFailed, OutputError: see `budget.sizes`.
    """
    if not task.search.limits.given() or not task.targets:
        return {"flash": 0, "ram": 0}
    taken = {"flash": 0, "ram": 0}
    for mixed in (False, True)[: 1 + ("mps" in task.search.methods)]:
        network = _untrained(task, terminal, mixed=mixed)
        if network is None:
            break
        found = budget.sizes(network, task.sized(), task.options)
        taken = budget.overhead(found)
        if not mixed and not budget.excess(found, task.search.limits):
            break  # it fits as it is, without mixing widths
    terminal.detail(f"  besides the network: {taken['flash']} bytes of flash, {taken['ram']} of RAM")
    budget.require_room(task.search.limits, taken)
    return taken


def _search(
    task: Task, plan: Plan, trained: Record, weights: Path, work: Path, terminal: Terminal
) -> Mapping[str, Any]:
    from plinio_deploy.recipes import loop, training
    from plinio_deploy.recipes.batches import as_split
    from plinio_deploy.recipes.chain import Chain
    from plinio_deploy.recipes.checkpoint import load_module

    recipe, data = task.trainer.recipe, task.trainer.data
    taken = rehearse(task, terminal)
    model = training.build_model(recipe, plan.seed)
    load_module(model, weights)
    with terminal.progress("search", plan.epochs()) as advance:
        chain = Chain(recipe, data, plan, work, _Reporter(plan, advance))
        limits = {name: limit - taken.get(name, 0) for name, limit in plan.goal.limits.items()}
        start = chain.before_last(model.eval(), plan.goal.within(limits))
        found = _within_limits(task, chain, start, plan.goal.within(limits), terminal)
        qnet = chain.tune(found.nas)
    chain.save(work, qnet)
    return {
        "recipe": task.trainer.spec,
        "methods": list(plan.methods),
        "plan": repr(plan),
        "seed_metric": trained.facts["float_metric"],
        "quantized_metric": loop.evaluate(recipe, qnet, as_split(data.test)),
        "points": chain.points,
        "overhead": taken,
        "tries": found.tries,
        "sizes": {name: vars(item) for name, item in found.sizes.items()},
        "cycles": None if found.checked is None else _cycles(found.checked, found.refits),
    }


def _cycles(checked: closing.Checked, refits: int) -> dict[str, Any]:
    return {"predicted": checked.predicted, "measured": checked.measured, "refits": refits}


@dataclass(frozen=True)
class _Found:
    """What the last method decided, and what its firmware takes.

    Attributes:
        nas: the method.
        sizes: by target.
        tries: how often it searched.
        checked: its cycles, where they count and can be measured.
        refits: how often the cost table has learned.
    """

    nas: Any
    sizes: Mapping[str, budget.Sizes]
    tries: int
    checked: closing.Checked | None
    refits: int


def _within_limits(task: Task, chain: Chain, model: Any, goal: Goal, terminal: Terminal) -> _Found:
    """Let the last method search until its firmware is within the user's limits.

    It searches again on a table that has learned where that was off, and with tighter limits where they are missed.
    """
    limits = dict(goal.limits)
    count = refits = 0
    while True:
        count += 1
        nas, costs = chain.last(model, goal.within(limits))
        network = _integers(task, chain.quantized(nas))
        found = budget.sizes(network, task.sized(), task.options)
        # On the last try there is no more slack: what fits, fits.
        over = budget.excess(found, task.search.limits, budget.SLACK if count < TRIES else 0.0)
        checked = closing.check(network, task.targets[0], goal.table) if goal.target is not None else None
        if checked is not None and checked.is_off and count < TRIES:
            terminal.note(f"  try {count} of {TRIES}: {checked.deviation:+.1%} between table and measurement")
            goal, refits = goal.on(checked.refitted()), refits + 1
            continue
        cycles = costs.get("cycles", 0.0) if checked is None else checked.measured
        if "cycles" in limits and cycles > goal.limits["cycles"]:
            over["cycles"] = cycles - goal.limits["cycles"]
        if not over or task.search.strength is not None:
            return _Found(nas, found, count, checked, refits)
        text = ", ".join(f"{name} by {value:.0f}" for name, value in over.items())
        terminal.note(f"  try {count} of {TRIES}: misses {text}")
        if count == TRIES:
            name, value = next(iter(over.items()))
            limit = task.search.limits.given()[name]
            raise budget.missed("what the search found", name, limit + value, limit)
        limits = _tighter(limits, over)


def _tighter(limits: Mapping[str, float], over: Mapping[str, float]) -> dict[str, float]:
    """What came out misses by so much: ask for as much less.

    A search that did not get where it was asked to is asked for more than that.
    """
    return {
        name: max(0.05 * limit, limit - over.get(name, 0.0) - (0.01 * limit if name in over else 0.0))
        for name, limit in limits.items()
    }


def _integers(task: Task, qnet: QuantNetwork) -> Network:
    from plinio_deploy.integerize import integerize

    return integerize(qnet, task.trainer.recipe.name)


def _untrained(task: Task, terminal: Terminal, *, mixed: bool) -> Network | None:
    """The integer network of the untrained model, all widths mixed in every layer if asked for."""
    from dataclasses import replace

    from plinio_deploy.quantization import LayerConfig
    from plinio_deploy.recipes import training
    from plinio_deploy.recipes.batches import iterate

    recipe = task.trainer.recipe
    model = training.build_model(recipe, task.trainer.training.seed)
    config = training.recipe_config(recipe)
    if mixed:
        widths = sorted(set(recipe.search_w_bits) - {0})
        plain = training.make_qnet(recipe, model)
        paths = {node.path: len(plain.layer(node.name).bias) for node in plain.nodes if node.name in plain.layer_of}
        layers = {
            path: LayerConfig(tuple(widths[index % len(widths)] for index in range(channels)))
            for path, channels in paths.items()
        }
        config = replace(config, layers=layers)
    qnet = training.make_qnet(recipe, model, config)
    x, _ = next(iterate(task.trainer.data.train, CHECKED_SAMPLES, None))
    qnet.calibrate([x[:CHECKED_SAMPLES]])
    try:
        return _integers(task, qnet)
    except UnsupportedModel as error:
        terminal.detail(f"  not rehearsed: {error.what}")
        return None


class _Reporter:
    """Tells the terminal of every epoch, with the time that is left at the pace so far."""

    def __init__(self, plan: Plan, advance: Advance) -> None:
        self._total, self._advance = plan.epochs(), advance
        self._done = 0
        self._start = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        self._done += 1
        left = (time.monotonic() - self._start) / self._done * max(0, self._total - self._done)
        costs = ", ".join(f"{name} {value:.0f}" for name, value in progress.costs.items())
        text = f"{progress.phase} loss {progress.loss:.4f}, validation {progress.metric:.4f}"
        about = f"about {left / 60:.0f} min left" if left >= 60 else f"about {left:.0f} s left"
        self._advance(self._done, "; ".join(filter(None, (text, costs, about))))
