# SPDX-License-Identifier: Apache-2.0
"""Channel analysis: which mask element governs which channel of which tensor, elementwise, through the whole model.

Every convolution and linear layer makes fresh identifiers for its output channels. Operations hand them on
(``ops.py``), layers end them and unify where channels must live together (``layers.py``). The outcome says, for each
layer, which identifiers its inputs and outputs carry: all that masking, cost and slicing need.

What a masked channel holds does not matter anywhere: it is the *consumer* whose weights are masked along its input
channels, so operations that turn zero into something else (sigmoid, BN, an added constant) stay exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.search.graph.ids import FROZEN, Features, IdArray, Ids, varying_axes
from plinio_deploy.search.graph.shapes import Shapes
from plinio_deploy.search.graph.trace import Leaf, evaluate, is_choice, matches, place, unsupported

OnUnsupported = Literal["refuse", "freeze"]
LayerKind = Literal["dense", "depthwise", "grouped"]


@dataclass(eq=False)
class LayerInfo:
    """A layer with weights, as the analysis sees it.

    ``ins`` is ``None`` where the input is not governed at all; ``outs`` has one identifier per output channel.
    ``modules``: all that share the weight, by path. ``kind``: dense layers mix all inputs, depthwise ones keep each
    channel apart, grouped ones tie position j of all groups.
    """

    path: str
    module: nn.Module
    kind: LayerKind
    ins: IdArray | None
    outs: IdArray
    modules: dict[str, nn.Module] = field(default_factory=dict)
    nodes: list[fx.Node] = field(default_factory=list)


@dataclass(eq=False)
class CarrierInfo:
    """A module that keeps channels apart but holds numbers per channel (BN, PReLU), or a norm over channels."""

    path: str
    module: nn.Module
    ids: IdArray | None
    axis: int = 0


@dataclass(frozen=True)
class Rules:
    """What the user asked of the analysis: exclusions, leaves, granularity."""

    exclude: Sequence[Leaf] = ()
    leaves: Sequence[Leaf] = ()
    on_unsupported: OnUnsupported = "refuse"
    granularity: int | Mapping[str, int] = 1
    searchable: tuple[type[nn.Module], ...] = (nn.Module,)


class Channels:
    """The outcome of the analysis of one traced model (see the module's docstring).

    Attributes:
        layers: layers with weights, in order of their first call.
        carriers: modules with numbers per channel.
        features: per node, the governed axis and its identifiers; ``None`` where nothing can vanish.
        notes: what was frozen and why, one sentence each.
    """

    def __init__(self, traced: fx.GraphModule, shapes: Shapes, rules: Rules) -> None:
        self.shapes = shapes
        self.rules = rules
        self.ids = Ids()
        self.layers: dict[int, LayerInfo] = {}
        self.carriers: dict[int, CarrierInfo] = {}
        self.features: dict[fx.Node, Any] = {}
        self.notes: list[str] = []
        self.graphs: list[tuple[str, fx.GraphModule]] = []
        self.indices: dict[fx.Node, Tensor] = {}  # integer constants: positions, not numbers with channels
        self._used: set[int] = set()  # parameters that the graph reads on their own
        outputs = self.run(traced, "", None)
        for features in flatten(outputs):
            self.freeze(features)
        self._settle()

    # ------------------------------------------------------------------------------------------------ walking

    def run(self, traced: fx.GraphModule, prefix: str, inputs: Sequence[Any] | None) -> Any:
        """Analyse one graph (the model's, or a branch's) and return the features of what it returns."""
        from plinio_deploy.search.graph.layers import module_features
        from plinio_deploy.search.graph.ops import operation_features

        self.graphs.append((prefix, traced))
        given = list(inputs or ())
        result: Any = None
        for node in traced.graph.nodes:
            if node.op == "placeholder":
                self.features[node] = given.pop(0) if given else None
            elif node.op == "output":
                result = fx.map_arg(node.args[0], self.features.__getitem__)
            elif node.op == "get_attr":
                self.features[node] = self._constant(node, evaluate(traced, node, (), {}))
            elif node.op == "call_module":
                module = traced.get_submodule(str(node.target))
                path = f"{prefix}{node.target}"
                if is_choice(module):
                    self.features[node] = self._choice(node, module, path)
                else:
                    self.features[node] = module_features(self, node, module, path)
            else:
                self.features[node] = operation_features(self, node)
        return result

    def _constant(self, node: fx.Node, value: Any) -> Features | None:
        """A parameter or buffer used on its own: prunable along its one axis longer than 1, if there is one."""
        if isinstance(value, Tensor) and not value.is_floating_point():
            self.indices[node] = value.cpu()
            return None
        self._used.add(id(value))
        shape = self.shapes[node]
        axes = [axis for axis, size in enumerate(shape) if size > 1] if isinstance(shape, torch.Size) else []
        return Features(axes[0], self.ids.fresh(shape[axes[0]])) if len(axes) == 1 else None

    def _choice(self, node: fx.Node, module: nn.Module, path: str) -> Features | None:
        branches = module.branches
        assert isinstance(branches, nn.ModuleList)
        inputs = [self.features[arg] if isinstance(arg, fx.Node) else None for arg in node.args]
        results = []
        for index, branch in enumerate(branches):
            assert isinstance(branch, fx.GraphModule)
            results.append(self.run(branch, f"{path}.branches.{index}.", inputs))
        governed = [result for result in results if isinstance(result, Features)]
        if len(governed) < len(results) or len({result.axis for result in governed}) != 1:
            for result in governed:
                self.freeze(result)
            return governed[0] if governed else None
        for result in governed[1:]:
            self.ids.unify(governed[0].ids, result.ids)
        return governed[0]

    # ------------------------------------------------------------------------------------------ helpers of handlers

    def tensors(self, node: fx.Node) -> list[fx.Node]:
        """The tensor inputs of a node."""
        return [source for source in node.all_input_nodes if isinstance(self.shapes[source], torch.Size)]

    def governed(self, node: fx.Node) -> bool:
        """May anything in what this node returns vanish?"""
        return any(True for _ in flatten(self.features.get(node)))

    def freeze(self, features: Features | None) -> None:
        """Whatever governs this tensor always stays."""
        if features is not None:
            self.ids.freeze(features.ids)

    def freeze_inputs(self, node: fx.Node, why: str) -> None:
        """Nothing that flows into the node may vanish; note why."""
        frozen = [item for source in node.all_input_nodes for item in flatten(self.features.get(source))]
        for features in frozen:
            self.freeze(features)
        if frozen:
            self.notes.append(f"{place(node)}: {why}; the channels that flow into it all stay")

    def refuse(self, node: fx.Node, what: str, *, hints: Sequence[str] = ()) -> None:
        """Refuse the model by name, or freeze what flows into the node, as the user asked."""
        if self.rules.on_unsupported == "freeze":
            self.freeze_inputs(node, what)
            return
        more = (
            "Mark the module around it as a leaf: leaves=('its.path',); what flows into it is then not pruned.",
            "Or pass on_unsupported='freeze' to keep all channels that flow into such operations.",
        )
        raise unsupported(node, what, hints=(*hints, *more))

    def settle_axis(self, ids: Tensor, prefer: int | None = None) -> Features | None:
        """Features of a tensor whose every element's identifier is known: one axis stays, the others are tied."""
        axes = varying_axes(ids)
        if not axes or 0 in axes:
            self.ids.freeze(np.unique(ids.numpy()))
            return None
        keep = prefer if prefer in axes else max(axes, key=lambda axis: ids.shape[axis])
        rows = ids.movedim(keep, 0).reshape(ids.shape[keep], -1)
        if len(axes) > 1:
            for row in rows.numpy():
                unique = np.unique(row)
                self.ids.unify(unique, unique[:1])
        return Features(keep, self.ids.find(rows[:, 0].numpy().copy()))

    def shared(self, known: dict[int, Any], module: nn.Module) -> Any:
        """What is known of a module (or of one with the very same weight) from an earlier call."""
        return known.get(key_of(module))

    # ------------------------------------------------------------------------------------------------ settling

    def _settle(self) -> None:
        """Freeze identifiers that no layer makes, and replace all by their representatives."""
        for layer in self.layers.values():  # a layer's weight that is also read by itself keeps its size
            if self._used.intersection(map(id, layer.module.parameters(recurse=False))):
                self.ids.freeze(layer.outs)
                if layer.ins is not None:
                    self.ids.freeze(layer.ins)
        for carrier in self.carriers.values():
            if carrier.ids is not None and self._used.intersection(map(id, carrier.module.parameters(recurse=False))):
                self.ids.freeze(carrier.ids)
        made = {int(item) for layer in self.layers.values() for item in self.ids.find(layer.outs)}
        for node, features in self.features.items():
            if node.op == "get_attr" and features is not None:
                loose = [item for item in self.ids.find(features.ids).tolist() if item not in made]
                self.ids.freeze(np.array(loose, dtype=np.int64))
        for layer in self.layers.values():
            layer.outs = self.ids.find(layer.outs)
            layer.ins = self._found(layer.ins)
        for carrier in self.carriers.values():
            carrier.ids = self._found(carrier.ids)
        self.features = {node: self._resolved(features) for node, features in self.features.items()}

    def _found(self, ids: IdArray | None) -> IdArray | None:
        if ids is None:
            return None
        found = self.ids.find(ids)
        return found if bool((found != FROZEN).any()) else None

    def _resolved(self, features: Any) -> Any:
        if isinstance(features, tuple | list):
            return tuple(self._resolved(item) for item in features)
        if features is None:
            return None
        found = self._found(features.ids)
        return None if found is None else Features(features.axis, found)

    def kept(self) -> set[int]:
        """Identifiers that must stay so that no layer and no tensor is left without channels (the last of each)."""
        kept = {FROZEN}
        arrays = [layer.outs for layer in self.layers.values()]
        arrays += [item.ids for features in self.features.values() for item in flatten(features)]
        for ids in arrays:
            if not kept.intersection(ids.tolist()):
                kept.add(int(ids[-1]))
        return kept


def key_of(module: nn.Module) -> int:
    """Modules that share their weight are one layer."""
    weight = module._parameters.get("weight")  # noqa: SLF001 - the parameter itself, not what a parametrization makes of it
    return id(module) if weight is None else id(weight)


def flatten(features: Any) -> Iterator[Features]:
    """Every ``Features`` in a nested value."""
    if isinstance(features, Features):
        yield features
    elif isinstance(features, tuple | list):
        for item in features:
            yield from flatten(item)
    elif isinstance(features, Mapping):
        yield from flatten(list(features.values()))


def is_marked(path: str, module: nn.Module, rules: Rules) -> bool:
    """Is the module one that the user keeps whole?"""
    return matches(path, module, rules.leaves)


__all__ = ["CarrierInfo", "Channels", "LayerInfo", "Rules", "UnsupportedModel", "flatten", "is_marked", "key_of"]
