# SPDX-License-Identifier: Apache-2.0
"""A traced model without its dead channels: every operation that names channels or sizes is rewritten, and checked.

Data movement (view, slice, chunk, shuffle, ...) is checked by running it on labels, one per element: what the rewritten
operation does to the labels of the living elements must be what the original did to all, minus the dead.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, fx, nn

from plinio_deploy.search.graph.channels import Channels
from plinio_deploy.search.graph.ids import Features, IdArray
from plinio_deploy.search.graph.layers import MOVEMENT as MOVEMENT_MODULES
from plinio_deploy.search.graph.layers import PADS
from plinio_deploy.search.graph.names import MOVEMENT, name_of
from plinio_deploy.search.graph.ops import run_on_ids
from plinio_deploy.search.graph.shapes import Plain
from plinio_deploy.search.graph.trace import evaluate, unsupported


class Slicer(Protocol):
    """What rewriting needs to know of the masks."""

    def alive(self, ids: IdArray) -> IdArray:
        """Indices of the living channels among those with these identifiers."""
        ...

    def module(self, path: str, module: nn.Module) -> nn.Module:
        """The module without its dead channels."""
        ...

    def branch(self, path: str, choice: nn.Module) -> int | None:
        """Which branch of alternatives stays; ``None`` keeps them all."""

    def before(self, path: str, module: nn.Module) -> nn.Module | None:
        """A module to run on what flows into the given one, if its sliced form needs that."""

    def after(self, path: str) -> tuple[str, nn.Module] | None:
        """A module to run on what flows out, and its path in the same graph."""


class Rewriter:
    """Rewrites one graph; branches of alternatives by further instances."""

    def __init__(self, channels: Channels, traced: fx.GraphModule, prefix: str, slicer: Slicer) -> None:
        self.channels = channels
        self.traced = traced
        self.prefix = prefix
        self.slicer = slicer
        self.graph = fx.Graph()
        self.modules: dict[str, Any] = {}
        self.new: dict[fx.Node, fx.Node] = {}
        self.sizes: dict[fx.Node, Any] = {}  # what a non-tensor node gives in the new graph
        self._count = 0

    def run(self) -> fx.GraphModule:
        """The new graph module; it shares no tensor with the old one."""
        for node in self.traced.graph.nodes:
            self.new[node] = self._node(node)
            self.new[node].meta.update(
                {key: node.meta[key] for key in ("module_path", "source_line") if key in node.meta}
            )
        for node in reversed(self.graph.nodes):  # paddings that others took over
            if node.op == "call_module" and not node.users and isinstance(self.modules[str(node.target)], PADS):
                self.graph.erase_node(node)
        self.graph.lint()
        result = fx.GraphModule(self.modules, self.graph, type(self.traced).__name__)
        result.training = self.traced.training
        for path, module in result.named_modules():
            if path and path not in self.modules and not any(path.startswith(own + ".") for own in self.modules):
                module.training = self.traced.training
        return result

    def _copy(self, node: fx.Node) -> fx.Node:
        return self.graph.node_copy(node, self.new.__getitem__)

    def _node(self, node: fx.Node) -> fx.Node:
        shape = self.channels.shapes.get(node)
        if node.op == "get_attr":
            return self._constant(node)
        if node.op == "call_module":
            return self._module(node)
        if node.op in {"placeholder", "output"}:
            return self._copy(node)
        if isinstance(shape, Plain):
            self.sizes[node] = self._size(node, shape.value)
            return self._copy(node)
        if name_of(node) in MOVEMENT:
            return self._moved(node, None)
        return self._copy(node)

    def _size(self, node: fx.Node, original: Any) -> Any:
        try:
            args = fx.map_arg(node.args, self._look_new)
            return evaluate(self.traced, node, args, fx.map_arg(node.kwargs, self._look_new))
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
            return original  # data-dependent numbers; nothing about sizes follows from them

    # ------------------------------------------------------------------------------------------------ leaves

    def _constant(self, node: fx.Node) -> fx.Node:
        value = evaluate(self.traced, node, (), {})
        features = self.channels.features[node]
        if isinstance(value, Tensor):
            kept = value.detach().clone()
            if features is not None:
                index = torch.from_numpy(self.slicer.alive(features.ids)).to(kept.device)
                kept = kept.index_select(features.axis, index)
            value = nn.Parameter(kept, value.requires_grad) if isinstance(value, nn.Parameter) else kept
        self.modules[str(node.target)] = value
        return self._copy(node)

    def _module(self, node: fx.Node) -> fx.Node:
        path = str(node.target)
        module = self.traced.get_submodule(path)
        full = f"{self.prefix}{path}"
        chosen = self.slicer.branch(full, module)
        if chosen is not None:
            branch = module.branches[chosen]  # type: ignore[index]
            assert isinstance(branch, fx.GraphModule)
            inner = Rewriter(self.channels, branch, f"{full}.branches.{chosen}.", self.slicer)
            self.modules.setdefault(path, inner.run())
            return self._copy(node)
        if isinstance(module, MOVEMENT_MODULES):
            return self._moved(node, module)
        if path not in self.modules:
            self.modules[path] = self.slicer.module(full, module)
        before = self.slicer.before(full, module)
        result = self._copy(node) if before is None else self._padded(node, path, before)
        after = self.slicer.after(full)
        if after is None:
            return result
        self.modules[after[0]] = after[1]
        return self.graph.call_module(after[0], (result,))

    def _padded(self, node: fx.Node, path: str, pad: nn.Module) -> fx.Node:
        """The layer with a padding before it; a zero padding that is there already takes it over."""
        source = node.args[0]
        assert isinstance(source, fx.Node)
        before = self.new[source]
        both = merged_padding(self.modules.get(str(source.target)), pad) if source.op == "call_module" else None
        if both is not None:
            calls = sum(item.target == source.target for item in self.traced.graph.nodes)
            if calls == 1 and len(source.users) == 1:
                self.modules[str(source.target)] = both
                return self._copy(node)
            pad = both
            before = self.new[source.all_input_nodes[0]]
        self.modules[f"{path}_pad"] = pad
        padded = self.graph.call_module(f"{path}_pad", (before,))
        return self.graph.node_copy(node, lambda item: padded if item is source else self.new[item])

    # ------------------------------------------------------------------------------------------------ movement

    def _labels(self, node: fx.Node, start: int) -> Any:
        """Labels of every element of the original tensor: ``start``, ``start + 1``, ..."""
        shape = self.channels.shapes[node]
        if isinstance(shape, torch.Size):
            return torch.arange(start, start + shape.numel()).reshape(shape)
        if isinstance(shape, Plain):
            return shape.value
        sizes = np.cumsum([0, *(size.numel() for size in shape)]).tolist()
        return tuple(
            torch.arange(start + at, start + at + size.numel()).reshape(size)
            for at, size in zip(sizes, shape, strict=False)
        )

    def _living(self, labels: Any, features: Any) -> Any:
        """Labels of the living elements."""
        if isinstance(labels, tuple | list):
            rows = features if isinstance(features, tuple) else [None] * len(labels)
            return tuple(self._living(item, row) for item, row in zip(labels, rows, strict=True))
        if not isinstance(labels, Tensor) or not isinstance(features, Features):
            return labels
        return labels.index_select(features.axis, torch.from_numpy(self.slicer.alive(features.ids)))

    def _look_new(self, node: fx.Node) -> Any:
        """What a node gives in the new graph: sizes as they will be, tensors as labels of the living."""
        if node in self.sizes:
            return self.sizes[node]
        return self._living(self._labels(node, 0), self.channels.features[node])

    def _moved(self, node: fx.Node, module: Callable[..., Any] | None) -> fx.Node:
        if node.op == "call_module":
            self.modules.setdefault(
                str(node.target),
                self.slicer.module(f"{self.prefix}{node.target}", self.traced.get_submodule(str(node.target))),
            )
        if not any(_governed(self.channels.features.get(item)) for item in (*node.all_input_nodes, node)):
            return self._copy(node)
        start = 0
        full: dict[fx.Node, Any] = {}
        for source in node.all_input_nodes:
            full[source] = self.channels.indices.get(source)
            if full[source] is not None:
                continue
            full[source] = self._labels(source, start)
            start += _elements(full[source])
        living = {
            source: self.sizes[source]
            if source in self.sizes
            else self._living(full[source], self.channels.features[source])
            for source in full
        }
        want = self._living(_clean(run_on_ids(node, module, full.__getitem__)), self.channels.features[node])
        if _same(lambda: run_on_ids(node, module, living.__getitem__), want):
            return self._copy(node)
        return self._moved_anew(node, want, living)

    def _moved_anew(self, node: fx.Node, want: Any, living: Mapping[fx.Node, Any]) -> fx.Node:
        """The operation as it must be spelled for the living channels."""
        source = node.all_input_nodes[0]
        have = living[source]
        tensors = [item for item in self.channels.tensors(node) if item not in self.channels.indices]
        if tensors == [source] and isinstance(have, Tensor):
            if isinstance(want, Tensor):
                found = self._reshaped(node, want, have) or self._picked(node, want, have)
                found = found or self._gathered(node, want, have)
                if found is not None:
                    return found
            else:
                for axis in range(have.dim()):
                    lengths = _lengths(want, axis)
                    if _same(partial(torch.split, have, lengths, axis), want):
                        return self.graph.call_function(torch.split, (self.new[source], lengths, axis))
        raise unsupported(
            node,
            "this operation cannot be written without the channels that were pruned away",
            hints=("Keep the channels that flow into it: exclude_names=('the.layer',).",),
        )

    def _reshaped(self, node: fx.Node, want: Tensor, have: Tensor) -> fx.Node | None:
        if want.numel() != have.numel() or not bool((want.flatten() == have.flatten()).all()):
            return None
        return self.graph.call_function(torch.reshape, (self.new[node.all_input_nodes[0]], (-1, *want.shape[1:])))

    def _picked(self, node: fx.Node, want: Tensor, have: Tensor) -> fx.Node | None:
        """Some indices of one axis, the others untouched."""
        differing = [
            axis for axis in range(have.dim()) if want.dim() == have.dim() and want.shape[axis] != have.shape[axis]
        ]
        features = self.channels.features[node.all_input_nodes[0]]
        axis = differing[0] if len(differing) == 1 else features.axis if features is not None else 0
        if want.dim() != have.dim() or len(differing) > 1:
            return None
        place = {
            label: index
            for index, label in enumerate(have.movedim(axis, 0).reshape(have.shape[axis], -1)[:, 0].tolist())
        }
        wanted = want.movedim(axis, 0).reshape(want.shape[axis], -1)[:, 0].tolist()
        if not all(label in place for label in wanted):
            return None
        index = torch.tensor([place[label] for label in wanted])
        if not _same(lambda: have.index_select(axis, index), want):
            return None
        source = self.new[node.all_input_nodes[0]]
        if index.tolist() == list(range(int(index[0]), int(index[0]) + len(index))):
            return self.graph.call_function(torch.narrow, (source, axis, int(index[0]), len(index)))
        return self.graph.call_function(torch.index_select, (source, axis, self._index(node, index)))

    def _gathered(self, node: fx.Node, want: Tensor, have: Tensor) -> fx.Node | None:
        """Any rearrangement within one sample."""
        if want.dim() == 0 or want.shape[0] != have.shape[0]:
            return None
        place = {label: index for index, label in enumerate(have[0].flatten().tolist())}
        wanted = want[0].flatten().tolist()
        if not all(label in place for label in wanted):
            return None
        index = torch.tensor([place[label] for label in wanted])
        flat = self.graph.call_function(torch.flatten, (self.new[node.all_input_nodes[0]], 1))
        picked = self.graph.call_function(torch.index_select, (flat, 1, self._index(node, index)))
        return self.graph.call_function(torch.reshape, (picked, (-1, *want.shape[1:])))

    def _index(self, node: fx.Node, index: Tensor) -> fx.Node:
        name = f"{node.name}_index_{self._count}"
        self._count += 1
        device = next((item.device for item in self.traced.parameters()), torch.device("cpu"))
        self.modules[name] = index.to(device)
        return self.graph.get_attr(name)


def merged_padding(first: nn.Module | None, second: nn.Module) -> nn.Module | None:
    """One zero padding that does what two in a row do; ``None`` if there is none. Negative sides crop."""
    kinds = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
    if not isinstance(first, kinds) or not isinstance(second, kinds) or first.value != 0 or second.value != 0:
        return None
    sides = tuple(zip(first.padding, second.padding, strict=True))
    if not all(before >= 0 or after <= 0 for before, after in sides):
        return None  # cropped first, then padded: what was cropped is lost
    both = copy.deepcopy(first)
    both.padding = tuple(before + after for before, after in sides)  # type: ignore[assignment]
    return both


def _governed(features: Any) -> bool:
    if isinstance(features, tuple | list):
        return any(_governed(item) for item in features)
    return features is not None


def _elements(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    return sum(map(_elements, value)) if isinstance(value, tuple | list) else 0


def _clean(value: Any) -> Any:
    return value if isinstance(value, Tensor) else tuple(value)


def _lengths(want: Any, axis: int) -> list[int]:
    return [int(item.shape[axis]) for item in want if item.dim() > axis]


def _same(got: Callable[[], Any], want: Any) -> bool:
    """Does the operation run, and give just these labels?"""
    try:
        value = _clean(got())
    except (RuntimeError, IndexError, ValueError, TypeError):
        return False
    if isinstance(want, Tensor):
        return isinstance(value, Tensor) and value.shape == want.shape and bool((value == want).all())
    return len(value) == len(want) and all(torch.equal(a, b) for a, b in zip(value, want, strict=True))
