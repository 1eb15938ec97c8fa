# SPDX-License-Identifier: Apache-2.0
"""From what a network runs to what that costs.

A search method describes its network as it stands as a `NetworkUse`; `evaluate` prices it. Nothing is kept between
calls, so a cost is never stale and ``backward`` may be called on each one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from plinio_deploy.search.cost.slopes import SlopedFormula, Sum
from plinio_deploy.search.cost.spec import Cost, CostSpec, Formula, NetworkCost, Spec

Number = Tensor | float
"""A count that may be searched, or one that is known."""


@dataclass(frozen=True)
class LayerUse:
    """One call of one layer, or of one part of it.

    Attributes:
        name: module path; for ops of the graph, the path of the module they are written in, a dot and the op.
        kind: class of the layer (``nn.Conv2d``), or an `Op` such as `Add` or `Pool`.
        spec: attributes of the layer, PLiNIO's way: ``vars`` of the module with ``input_shape`` and ``output_shape``
            (batch of 1 first), and tensors instead of numbers for what is searched: ``in_channels``, ``out_channels``
            (for Linear ``in_features``, ``out_features``), ``kernel_size`` as a tuple. ``groups`` stays the number the
            module was built with. Mixed precision adds ``w_precision`` and ``in_precision`` in bits; both are taken as
            8 where absent.
        weight: probability that this use runs: product of the thetas on the way to it, 1 outside supernets.
        module_id: the same for every call of one module.
        static: attributes as the module was built; patterns and the meaning of ``groups`` are decided on these. Empty:
            as `spec`.
        part: channels of one layer that differ in precision are parts of it: each its own use with its own
            ``out_channels``, same name and module_id. That way nothing is charged for a pruned channel, and nothing
            twice.
    """

    name: str
    kind: type
    spec: Mapping[str, Any]
    weight: Number = 1.0
    module_id: int = 0
    static: Mapping[str, Any] = field(default_factory=dict)
    part: int = 0


@dataclass(frozen=True)
class TensorUse:
    """A tensor that lies in memory.

    Attributes:
        name: unique in the network; a view of a tensor is that tensor and has its name.
        elements: for a batch of 1.
        bits: per element.
        outside: True for inputs and outputs of the network, which lie in buffers of the caller, not in the arena.
    """

    name: str
    elements: Number
    bits: Number = 8
    outside: bool = False


@dataclass(frozen=True)
class Choice:
    """One branch of one supernet module: a segment of the path to a step.

    Attributes:
        module: path of the supernet module (unique per call of it).
        branch: index.
        theta: probability of this branch, given that its supernet module runs.
    """

    module: str
    branch: int
    theta: Number


@dataclass(frozen=True)
class StepUse:
    """One step of the network in execution order, with all that lies in memory while it runs.

    Attributes:
        name: as `LayerUse.name`.
        live: tensors that some step up to and including this one writes (or that are inputs) and this or a later one
            reads, and what this step writes; on the path of this step only: other branches do not run.
        path: the choices under which the step runs, outermost first; empty outside supernets.
    """

    name: str
    live: tuple[TensorUse, ...]
    path: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class NetworkUse:
    """All that a network does for one input: uses of layers for sums, steps in order for memory."""

    layers: tuple[LayerUse, ...]
    steps: tuple[StepUse, ...] = ()


def evaluate(cost: Cost, use: NetworkUse) -> Tensor:
    """Price a network.

    Args:
        cost: `CostSpec`, summed over the uses of layers, or `NetworkCost`.
        use: the network as it stands.

    Returns:
        0-dim float tensor, differentiable in everything that `use` holds as tensors.

    Raises:
        UsageError: the cost has no formula for a layer, or two.
    """
    if isinstance(cost, NetworkCost):
        return as_tensor(cost.formula(use))
    total = Sum()
    _add(cost, use, lambda name: total)  # noqa: ARG005 - all layers go into one sum
    return total.tensor()


def layer_costs(cost: Cost, use: NetworkUse) -> dict[str, Tensor]:
    """The same, by module path: what each layer adds to the sum, for tables. Whole-network costs have no such parts."""
    sums: dict[str, Sum] = {}
    if not isinstance(cost, NetworkCost):
        _add(cost, use, lambda name: sums.setdefault(name, Sum()))
    return {name: total.tensor() for name, total in sums.items()}


def _add(cost: Cost, use: NetworkUse, sum_of: Callable[[str], Sum]) -> None:
    """Add what every layer costs to the sum that it belongs to."""
    assert isinstance(cost, CostSpec)
    known: dict[tuple[type, int], Formula | None] = {}  # parts of one layer are described by the same object
    for layer, weight in _counted(use, shared=cost.shared):
        static = layer.static or layer.spec
        key = layer.kind, id(static)
        if key not in known:
            known[key] = cost.lookup(layer.kind, static, layer.name)
        formula = known[key]
        if formula is None:
            continue
        spec = _with_static(layer)
        value = formula.slopes(spec) if isinstance(formula, SlopedFormula) else as_tensor(formula(spec))
        sum_of(layer.name).add(value, weight)


def as_tensor(value: Number) -> Tensor:
    """A 0-dim tensor: formulas may give back numbers, and tensors of one element."""
    return value.reshape(()) if isinstance(value, Tensor) else torch.tensor(float(value))


def _with_static(layer: LayerUse) -> Spec:
    return {**layer.spec, "static": layer.static or layer.spec}


def _counted(use: NetworkUse, *, shared: bool) -> list[tuple[LayerUse, Number]]:
    """Uses with the weight they count with; under `shared`, one per module: it is there if any of its calls may run."""
    if not shared:
        return [(layer, layer.weight) for layer in use.layers]
    first: dict[tuple[int, int, str], LayerUse] = {}
    weight: dict[tuple[int, int, str], Number] = {}
    for layer in use.layers:
        # Ops between layers have no weights to share: each counts.
        key = (layer.module_id, layer.part, "" if layer.module_id else layer.name)
        first.setdefault(key, layer)
        weight[key] = _larger(weight[key], layer.weight) if key in weight else layer.weight
    return [(layer, weight[key]) for key, layer in first.items()]


def _larger(a: Number, b: Number) -> Number:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.maximum(torch.as_tensor(a), torch.as_tensor(b))
    return max(a, b)
