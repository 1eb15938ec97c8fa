# SPDX-License-Identifier: Apache-2.0
"""What a traced model computes, call by call, as cost models want it: kinds, sizes, which tensors are read and written.

`program` looks at the graph once; what is searched (channels, kernels, branches) is filled in at each cost evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import fx, nn

from plinio_deploy.search.cost.spec import Add, Copy, Mul, Op, Pool
from plinio_deploy.search.graph.ids import Features
from plinio_deploy.search.graph.layers import CONVS, LAYERS, PADS, PER_CHANNEL, POOLS
from plinio_deploy.search.graph.layers import ELEMENTWISE as ELEMENTWISE_MODULES
from plinio_deploy.search.graph.names import ELEMENTWISE, MOVEMENT, REDUCTIONS, SPATIAL, VIEWS, name_of
from plinio_deploy.search.graph.shapes import Plain, Shapes
from plinio_deploy.search.graph.trace import is_choice

OpForm = Literal["step", "unary", "view"]

_POOLS = tuple(kind for kinds in POOLS.values() for kind in kinds)
_VIEW_MODULES = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class Segment:
    """One branch of one alternatives module on the way to a call."""

    path: str
    choice: nn.Module
    branch: int


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
        name: module path; for operations the path of the module they stand in, a dot and the operation.
        kind: class of the layer, an `Op`, or ``None`` where it costs nothing by itself.
        module: the layer.
        segments: the branches under which it runs, outermost first.
        reads: names of the tensors it reads; ``writes``: of the one it writes.
        features: what governs the output; the output has ``elements`` per sample with all channels there.
    """

    name: str
    kind: type | None
    module: nn.Module | None
    segments: tuple[Segment, ...]
    form: OpForm
    reads: tuple[str, ...]
    writes: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    features: Features | None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def elements(self) -> int:
        """Elements of the output for one sample."""
        return math.prod(self.output_shape[1:])


@dataclass(frozen=True)
class Program:
    """All calls in order, with the network's inputs (name, elements) and the names of its outputs."""

    calls: tuple[Call, ...]
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[str, ...]


def program(traced: fx.GraphModule, shapes: Shapes, features: dict[fx.Node, Any] | None = None) -> Program:
    """List all calls of a traced model, branches of alternatives included.

    Args:
        traced: the model.
        shapes: of its nodes.
        features: what governs each node's channels, where a channel analysis was made.
    """
    walk = _Walk(shapes, features or {})
    walk.graph(traced, "", (), None)
    return Program(tuple(walk.calls), tuple(walk.inputs), tuple(walk.outputs))


class _Walk:
    def __init__(self, shapes: Shapes, features: dict[fx.Node, Any]) -> None:
        self.shapes = shapes
        self.features = features
        self.calls: list[Call] = []
        self.inputs: list[tuple[str, int]] = []
        self.outputs: list[str] = []
        self.names: dict[fx.Node, str] = {}
        self.times: dict[str, int] = {}

    def graph(
        self, traced: fx.GraphModule, prefix: str, segments: tuple[Segment, ...], given: Sequence[str] | None
    ) -> list[str]:
        """Walk one graph; ``given`` names the tensors that its placeholders stand for."""
        waiting = list(given or ())
        results: list[str] = []
        for node in traced.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, prefix, waiting, top=given is None)
            elif node.op == "output":
                results = [self.names[source] for source in node.all_input_nodes if source in self.names]
            elif node.op != "get_attr" and not _is_plain(self.shapes[node]):
                self._call(traced, node, prefix, segments)
        if given is None:
            self.outputs = results
        return results

    def _placeholder(self, node: fx.Node, prefix: str, waiting: list[str], *, top: bool) -> None:
        shape = self.shapes[node]
        if not isinstance(shape, torch.Size):
            return
        if not top and waiting:
            self.names[node] = waiting.pop(0)
        else:
            self.names[node] = f"{prefix}{node.name}"
            self.inputs.append((self.names[node], math.prod(shape[1:])))

    def _call(self, traced: fx.GraphModule, node: fx.Node, prefix: str, segments: tuple[Segment, ...]) -> None:
        reads = tuple(self.names[source] for source in node.all_input_nodes if source in self.names)
        name = self._tensor(f"{prefix}{node.name}")
        module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and is_choice(module):
            self._choice(node, module, f"{prefix}{node.target}", name, segments, reads)
        else:
            self._plain(traced, node, module, prefix, name, segments, reads)
        self.names[node] = name

    def _tensor(self, name: str) -> str:
        """A name of its own for what a call writes: alternatives that are called twice write twice."""
        self.times[name] = self.times.get(name, 0) + 1
        return name if self.times[name] == 1 else f"{name}:{self.times[name]}"

    def _choice(
        self,
        node: fx.Node,
        module: nn.Module,
        path: str,
        name: str,
        segments: tuple[Segment, ...],
        reads: tuple[str, ...],
    ) -> None:
        branches = module.branches
        assert isinstance(branches, nn.ModuleList)
        given = [self.names[arg] for arg in node.args if isinstance(arg, fx.Node) and arg in self.names]
        for index, branch in enumerate(branches):
            assert isinstance(branch, fx.GraphModule)
            inner = (*segments, Segment(name, module, index))
            results = self.graph(branch, f"{path}.branches.{index}.", inner, given)
            source = tuple(results[:1]) or reads[:1]
            self._add(node, f"{path}.branches.{index}", None, None, inner, "view", source, name)

    def _plain(
        self,
        traced: fx.GraphModule,
        node: fx.Node,
        module: nn.Module | None,
        prefix: str,
        name: str,
        segments: tuple[Segment, ...],
        reads: tuple[str, ...],
    ) -> None:
        kind, form = _kind(node, module)
        if _is_zero_padding(node, module) and all(_is_conv(traced, user) for user in node.users):
            kind, form = None, "view"  # the convolution does it
        if kind in {Add, Mul} and len(reads) < 2:
            kind, form = None, "unary"
        if module is None:
            scope = node.meta.get("module_path") or ""
            label = f"{prefix}{scope}.{name_of(node)}".replace("..", ".").lstrip(".")
        else:
            label = f"{prefix}{node.target}"
        self._add(node, label, kind, module, segments, form, reads, name)

    def _add(
        self,
        node: fx.Node,
        label: str,
        kind: type | None,
        module: nn.Module | None,
        segments: tuple[Segment, ...],
        form: OpForm,
        reads: tuple[str, ...],
        writes: str,
    ) -> None:
        tensors = [source for source in node.all_input_nodes if isinstance(self.shapes[source], torch.Size)]
        input_shape = tuple(self.shapes[tensors[0]]) if tensors else ()
        shape = self.shapes[node]
        features = self.features.get(node)
        if not isinstance(shape, torch.Size):  # several tensors at once (chunk): as large as what they are made of
            shape, features = input_shape, self.features.get(tensors[0]) if tensors else None
        extra: dict[str, Any] = {}
        if kind is Pool:
            extra["kernel_size"] = _window(node, module, input_shape, tuple(shape))
            extra["maximum"] = "max" in (type(module).__name__.lower() if module is not None else name_of(node))
        self.calls.append(
            Call(label, kind, module, segments, form, reads, writes, input_shape, tuple(shape), features, extra)
        )


def _is_plain(shape: Any) -> bool:
    if isinstance(shape, torch.Size):
        return False
    return isinstance(shape, Plain) or all(_is_plain(item) for item in shape)


def _is_zero_padding(node: fx.Node, module: nn.Module | None) -> bool:
    if module is not None:
        return isinstance(module, nn.ConstantPad1d | nn.ConstantPad2d | nn.ConstantPad3d) and module.value == 0
    if name_of(node) != "pad" or len(node.args) > 2:
        return False
    return node.kwargs.get("mode", "constant") == "constant" and not node.kwargs.get("value")


def _is_conv(traced: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), CONVS)


def _kind(node: fx.Node, module: nn.Module | None) -> tuple[type | None, OpForm]:
    """What a node is to cost models, and how it treats memory."""
    if module is not None:
        return _module_kind(module)
    name = name_of(node)
    if name in VIEWS or (name == "getitem" and not isinstance(node.args[1], tuple | list)):
        return None, "view"
    if name in {"add", "sub", "rsub", "subtract"}:
        return Add, "step"
    if name in {"mul", "multiply", "div", "divide", "truediv", "true_divide"}:
        return Mul, "step"
    if name in ELEMENTWISE:
        return None, "unary"
    if name.startswith(SPATIAL) or name in REDUCTIONS:
        return (Copy, "step") if name.startswith(("interpolate", "upsample")) else (Pool, "step")
    if name in MOVEMENT or name == "pad":
        return Copy, "step"
    return Op, "step"


def _module_kind(module: nn.Module) -> tuple[type | None, OpForm]:
    for kind in LAYERS:
        if isinstance(module, kind):
            return kind, "step"
    if isinstance(module, _VIEW_MODULES):
        return None, "view"
    if isinstance(module, (*ELEMENTWISE_MODULES, *PER_CHANNEL)):
        return type(module), "unary"
    if isinstance(module, _POOLS):
        return Pool, "step"
    if isinstance(module, (*PADS, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)):
        return Copy, "step"
    return type(module), "step"


def _window(
    node: fx.Node, module: nn.Module | None, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[int, ...]:
    """Size of a pooling window; for adaptive pooling and means the ratio of the sizes."""
    own = getattr(module, "kernel_size", None)
    if module is None and name_of(node).startswith(("max_pool", "avg_pool")):
        own = node.kwargs.get("kernel_size", node.args[1] if len(node.args) > 1 else None)
    dims = max(len(before) - 2, 0)
    if isinstance(own, int):
        return (own,) * dims
    if isinstance(own, tuple | list):
        return tuple(int(size) for size in own if isinstance(size, int))
    sizes = after[2:] if len(after) == len(before) else (1,) * dims
    return tuple(-(-a // max(b, 1)) for a, b in zip(before[2:], sizes, strict=False))
