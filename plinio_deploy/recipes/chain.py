# SPDX-License-Identifier: Apache-2.0
"""SuperNet, PIT and MPS one after the other on one network: layers, then channels, then widths.

Each method starts from the weights that the one before it left, trains weights and decisions together, and hands on
what it decided. Every loop keeps a checkpoint, so that a chain is taken up again by running it again: what is finished
is read back, what is not goes on. Decisions and weights follow from the recipe, its data and the seed alone.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plinio_deploy.artifact import write_atomically
from plinio_deploy.errors import RecipeError, UsageError
from plinio_deploy.quantization import QuantConfig, QuantNetwork
from plinio_deploy.recipe import Data, Recipe, blaming
from plinio_deploy.recipes import training
from plinio_deploy.recipes.batches import as_split, iterate
from plinio_deploy.recipes.checkpoint import load_module, save_module
from plinio_deploy.recipes.goals import Goal, measure, measure_plain
from plinio_deploy.recipes.loop import Loop, ProgressCallback, Searching, Settings, evaluate, reproducible
from plinio_deploy.recipes.supernets import start_alternatives
from plinio_deploy.recipes.training import CALIBRATION_BATCHES, make_qnet, recipe_config
from plinio_deploy.search import schedules
from plinio_deploy.search.methods.base import DNAS
from plinio_deploy.search.methods.mps import MPS, MPSType, get_default_qinfo
from plinio_deploy.search.methods.pit import PIT
from plinio_deploy.search.methods.supernet import SuperNet
from plinio_deploy.search.training import anneal

FALLING = schedules.exponential(2.0, 0.3)
"""Temperature of a supernet's selections over its search."""

SELECTION_RATE = 0.1
"""Of plain gradient descent on a supernet's selections. Adam would move all alike, however little a choice saves."""

EXAMPLES = 512
"""Samples by which precisions are ranked."""

NETWORK = "network.safetensors"
ARCHITECTURE = "architecture.json"
RECORD = "record.jsonl"
PARETO = "pareto.json"


@dataclass(frozen=True)
class Plan:
    """What is searched and for how long.

    Attributes:
        methods: in order.
        goal: what for.
        warmup: epochs in which the alternatives of a supernet train before they are judged.
        search: epochs of each method.
        tune: epochs of fine-tuning; with quantizers in if MPS is among the methods, else in float.
        qat: epochs with quantizers in, if MPS is not among the methods.
        seed: of everything random.
    """

    methods: tuple[str, ...]
    goal: Goal
    warmup: int
    search: int
    tune: int
    qat: int
    seed: int

    def epochs(self) -> int:
        """Of all phases, if nothing has to be searched twice."""
        tuning = self.tune if "mps" in self.methods else self.tune + self.qat
        return ("supernet" in self.methods) * self.warmup + len(self.methods) * self.search + tuning


class Chain:
    """One run of the methods.

    Args:
        recipe: model, alternatives, data, loss and metric.
        data: the recipe's data.
        plan: see `Plan`.
        work: folder of the checkpoints.
        progress: called after each epoch.

    Attributes:
        plan: see `Plan`.
    """

    def __init__(self, recipe: Recipe, data: Data, plan: Plan, work: Path, progress: ProgressCallback | None) -> None:
        self._recipe, self._data, self.plan, self._work, self._progress = recipe, data, plan, work, progress
        self._costs = plan.goal.costs()
        self._seed_costs: dict[str, float] = {}
        self._rows: list[dict[str, Any]] = []
        self._points: list[dict[str, Any]] = []
        self._architecture: dict[str, Any] = {}
        self._tries = 0
        self._teacher: nn.Module | None = None

    def before_last(self, trained: nn.Module, goal: Goal) -> nn.Module:
        """All methods but the last.

        Args:
            trained: the recipe's model with its trained weights.
            goal: of the whole chain.

        Returns:
            The network that the last method starts from: for a supernet with its alternatives.
        """
        recipe = self._recipe
        self._teacher = copy.deepcopy(trained) if recipe.distill else None
        self._seed_costs = measure_plain(trained, self._costs, recipe.input_shape)
        metric = evaluate(recipe, trained, as_split(self._data.val))
        self._points.append({"phase": "seed", "metric": metric, "costs": self._seed_costs})
        model = starting(recipe, self.plan.methods, trained)
        for method in self.plan.methods[:-1]:
            model = self._search(method, model, goal).export().eval()
        return model

    def last(self, model: nn.Module, goal: Goal) -> tuple[DNAS, dict[str, float]]:
        """The last method, towards a goal of its own; may be called again with a tighter one.

        Returns:
            The searched model, and its costs as exported.
        """
        self._tries += 1
        nas = self._search(self.plan.methods[-1], model, goal)
        return nas, measure(nas, self._costs)

    def quantized(self, nas: DNAS) -> QuantNetwork:
        """What was found, with quantizers in, before fine-tuning: its sizes will not change any more."""
        found = nas.export().eval()
        if isinstance(found, QuantNetwork):
            return found
        with reproducible():
            qnet = make_qnet(self._recipe, found, uniform(self._recipe))
            return qnet.calibrate(self._calibration())

    def tune(self, nas: DNAS) -> QuantNetwork:
        """Fine-tune what was found, in float first unless it has quantizers already."""
        found = nas.export().eval()
        epochs = self.plan.tune
        if not isinstance(found, QuantNetwork):
            self._loop("tune", found, self.plan.tune, self._recipe.search_lr, "", None)
            with reproducible():
                found = make_qnet(self._recipe, found, uniform(self._recipe))
                found.calibrate(self._calibration())
            epochs = self.plan.qat
        if self._recipe.qat_norms:
            with reproducible():
                found.restore_norms(next(iterate(self._data.train, EXAMPLES, None)))
        self._loop("qat", found, epochs, self._recipe.qat_lr, "", None)
        found.fold_norms()
        metric = evaluate(self._recipe, found, as_split(self._data.val))
        final = {"phase": "final", "metric": metric, "costs": self._points[-1]["costs"]}
        self._points.append(final)
        return found

    def save(self, folder: Path, found: QuantNetwork) -> None:
        """Write weights, architecture, record and table of the points on the way; see `rebuilt` for the way back."""
        save_module(found, folder / NETWORK)
        lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in self._rows)
        write_atomically(folder / RECORD, lines.encode())
        points = [{**point, "dominated": _dominated(point, self._points)} for point in self._points]
        for name, content in ((ARCHITECTURE, self._architecture), (PARETO, {"schema": 1, "points": points})):
            write_atomically(folder / name, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())

    @property
    def points(self) -> list[dict[str, Any]]:
        """Validation metric and costs of the seed, of what each method left, and of the end."""
        return self._points

    def _search(self, method: str, model: nn.Module, goal: Goal) -> DNAS:
        plan, recipe = self.plan, self._recipe
        with reproducible():
            torch.manual_seed(plan.seed)
            nas = make_searched(method, model, recipe, goal, self._calibration)
            if isinstance(nas, MPS):
                self._prepare(nas, goal)
        if method == "supernet":
            nas.train_net_only()
            self._loop("warm-up", nas, plan.warmup, recipe.search_lr, "", Searching())
            nas.train_net_and_nas()
        share = (plan.methods.index(method) + 1) / len(plan.methods)
        regularizer = goal.regularizer(nas, self._seed_costs, share)
        searching = Searching(
            _decisions(method, nas, recipe),
            regularizer,
            (lambda epoch: anneal(nas, FALLING, epoch, plan.search)) if method == "supernet" else None,
            lambda: measure(nas, self._costs),
        )
        name = method if self._tries < 2 else f"{method} again {self._tries - 1}"
        self._loop(name, nas, plan.search, recipe.search_lr, repr(goal), searching)
        nas.eval()
        if isinstance(nas, MPS):
            nas.fold_norms()  # what is saved is loaded into a search that has none
        if isinstance(nas, PIT | MPS):
            _settle(nas, goal if share == 1 else goal.within({}))
        save_module(nas, self._work / f"{method}.safetensors")
        self._architecture[method] = _plain(nas.summary())
        metric = evaluate(recipe, nas, as_split(self._data.val))
        self._points.append({"phase": name, "metric": metric, "costs": measure(nas, self._costs)})
        return nas

    def _prepare(self, nas: MPS, goal: Goal) -> None:
        """Start within the limits, by what each precision costs in loss, so that the search trains few bits at once."""
        examples = next(iterate(self._data.train, EXAMPLES, None))
        if goal.limits and goal.strength is None:
            nas.rank_precisions(self._loss, [examples])
            _settle(nas, goal)
            nas.correct_biases(examples)
        if self._recipe.qat_norms:
            nas.restore_norms(examples)

    def _loss(self, output: Any, target: Tensor) -> Tensor:
        with blaming(self._recipe.source, "loss()"):
            return self._recipe.loss(output, target)

    def _loop(
        self, name: str, model: nn.Module, epochs: int, lr: float, goal: str, searching: Searching | None
    ) -> None:
        recipe, plan = self._recipe, self.plan
        settings = Settings(name, epochs, lr, recipe.batch_size, recipe.weight_decay, plan.seed, goal, recipe.distill)
        checkpoint = self._work / f".{len(self._points)}-{name.replace(' ', '-')}.safetensors"
        loop = Loop(recipe, self._data, model, settings, checkpoint, self._progress, searching, self._teacher)
        loop.run()
        self._rows += [{"phase": name, **row} for row in loop.history]

    def _calibration(self) -> list[Tensor]:
        batches = iterate(self._data.train, self._recipe.batch_size, None)
        return [x for (x, _), _ in zip(batches, range(CALIBRATION_BATCHES), strict=False)]


def starting(recipe: Recipe, methods: Sequence[str], trained: nn.Module | None) -> nn.Module:
    """The network that the first method gets.

    Args:
        recipe: has the model, and its alternatives if SuperNet is among the methods.
        methods: in order.
        trained: gives its weights; ``None`` leaves them as they are made.

    Raises:
        RecipeError: there are no alternatives, or what they start with is not the model.
    """
    if "supernet" not in methods:
        return trained if trained is not None else training.build_model(recipe)
    if type(recipe).supernet is Recipe.supernet:
        raise RecipeError(
            "the recipe has no alternatives to choose from",
            where=recipe.source,
            got="no supernet()",
            expected="supernet(), which returns the model with SuperNetModule in it",
            hints=("leave supernet out of --methods",),
        )
    with reproducible(), blaming(recipe.source, "supernet()"):
        torch.manual_seed(recipe.seed)
        model = recipe.supernet()
    if trained is not None:
        _transplant(trained, model, recipe)
    return model


def _decisions(method: str, nas: DNAS, recipe: Recipe) -> torch.optim.Optimizer:
    """What moves masks and selections."""
    own = list(nas.nas_parameters())
    if method == "supernet":
        return torch.optim.SGD(own, lr=SELECTION_RATE)
    return torch.optim.Adam(own, lr=recipe.nas_lr)


def _settle(nas: PIT | MPS, goal: Goal) -> None:
    """Keep what the search ranks highest, as much as the limits allow, where it has missed one.

    A single limit is also filled by bits of weights, if the search has left room below it.
    """
    fill = isinstance(nas, MPS) and len(goal.limits) == 1
    for name, limit in goal.limits.items():
        if fill or measure(nas, [name])[name] > limit:
            with contextlib.suppress(UsageError):  # no choice of channels meets it: the firmware will tell by how much
                nas.settle(limit, name)


def _transplant(trained: nn.Module, model: nn.Module, recipe: Recipe) -> None:
    """Give trained weights to the first alternative in each place and to everything around; others start from them."""
    own = trained.state_dict()
    state = model.state_dict()
    used = set()
    for name in state:
        source = name.replace(".branches.0.", ".")
        if source in own and own[source].shape == state[name].shape:
            state[name] = own[source]
            used.add(source)
    if used != set(own):
        missing = sorted(set(own) - used)
        raise RecipeError(
            "the alternatives do not start with the recipe's model",
            where=recipe.source,
            got=f"{len(missing)} weights have no place, such as {missing[0]}",
            expected="what model() has in a place comes first in its SuperNetModule",
        )
    model.load_state_dict(state)
    with blaming(recipe.source, "start_from() of an alternative"):
        start_alternatives(model)


def make_searched(
    method: str, model: nn.Module, recipe: Recipe, goal: Goal, calibration: Callable[[], list[Tensor]] | None
) -> DNAS:
    """A network under search.

    Args:
        method: ``supernet``, ``pit`` or ``mps``.
        model: not changed.
        recipe: gives shapes, ranges and widths.
        goal: says which costs are counted.
        calibration: batches for the clips of MPS; ``None`` if a state is loaded afterwards.
    """
    costs = goal.costs()
    if method == "supernet":
        return SuperNet(model, cost=costs, input_shape=recipe.input_shape, full_cost=True)
    if method == "pit":
        return PIT(model, cost=costs, input_shape=recipe.input_shape, full_cost=True)

    low, high = recipe.input_range
    # Hard: each step trains one network, the one that would be exported, and its price is exactly that network's. A
    # mixture over 0 to 8 bits trains something that no single choice resembles, and collapses when it is decided.
    return MPS(
        model,
        cost=costs,
        input_example=torch.zeros((1, *recipe.input_shape)),
        w_search_type=MPSType.PER_CHANNEL,
        qinfo=get_default_qinfo(recipe.search_w_bits, recipe.search_a_bits),
        full_cost=True,
        hard_softmax=True,
        input_range=(float(low), float(high)),
        calibration=calibration() if calibration is not None else None,
    )


def rebuilt(recipe: Recipe, methods: Sequence[str], goal: Goal, folder: Path) -> QuantNetwork:
    """The network that `Chain.save` wrote, from the decisions of all methods.

    Raises:
        UsageError: a file is missing or damaged, or the recipe is another one.
    """
    model = starting(recipe, methods, None)
    for method in methods:
        nas = make_searched(method, model, recipe, goal, None)
        load_module(nas, folder / f"{method}.safetensors")
        model = nas.eval().export().eval()
    qnet = model if isinstance(model, QuantNetwork) else make_qnet(recipe, model, uniform(recipe))
    load_module(qnet, folder / NETWORK)
    return qnet.eval()


def uniform(recipe: Recipe) -> QuantConfig:
    """The recipe's widths everywhere: exceptions by layer may name layers that a search has removed."""
    return replace(recipe_config(recipe), layers={})


def _dominated(point: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> bool:
    """Whether another point is as good in everything and better in something."""

    def better(other: Mapping[str, Any]) -> bool:
        pairs = [(other["costs"][name], value) for name, value in point["costs"].items()]
        pairs.append((-other["metric"], -point["metric"]))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return any(better(other) for other in points)


def _plain(value: Any) -> Any:
    """The same as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Tensor):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, Iterator | list | tuple) else value
