# SPDX-License-Identifier: Apache-2.0
"""The shape of every value in a traced model, alternatives of every branch included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from plinio_deploy.search.graph.trace import evaluate, is_choice, unsupported

Shapes = dict[fx.Node, Any]
"""Per node: ``torch.Size`` of a tensor, tuple or list of such, or the plain value where the node is no tensor."""


def shape_of(value: Any) -> Any:
    """``torch.Size`` in place of each tensor in a nested value."""
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, torch.Size):
        return Plain(value)
    if isinstance(value, tuple | list):
        return (
            type(value)(shape_of(item) for item in value)
            if type(value) in {tuple, list}
            else tuple(map(shape_of, value))
        )
    return Plain(value)


class Plain:
    """A value in the graph that is no tensor (a size, a flag)."""

    def __init__(self, value: Any) -> None:
        self.value = value


def plain(shape: Any) -> Any:
    """The value behind a ``Plain``, through tuples and lists."""
    if isinstance(shape, Plain):
        return shape.value
    if isinstance(shape, list):
        return [plain(item) for item in shape]
    return tuple(plain(item) for item in shape) if type(shape) is tuple else shape


def placeholder_values(graph: fx.Graph, inputs: Sequence[Any]) -> dict[fx.Node, Any]:
    """Which value each placeholder takes: the inputs in order, then the defaults."""
    values = list(inputs)
    found: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            found[node] = values.pop(0) if values else (node.args[0] if node.args else None)
    return found


def shapes(traced: fx.GraphModule, inputs: Sequence[Any]) -> Shapes:
    """Run a traced model once on example inputs, in eval mode and without gradients, and note every shape.

    Branches of alternatives each run on what flows into their module.

    Raises:
        UnsupportedModel: two branches of one module give different shapes.
    """
    flags = {module: module.training for module in traced.modules()}
    found: Shapes = {}
    traced.eval()
    try:
        with torch.no_grad():
            _run(traced, inputs, found)
    finally:
        for module, flag in flags.items():
            module.training = flag
    return found


def _run(traced: fx.GraphModule, inputs: Sequence[Any], found: Shapes) -> Any:
    values: dict[fx.Node, Any] = dict(placeholder_values(traced.graph, inputs))
    last = _last_uses(traced.graph)
    result: Any = None
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            pass
        elif node.op == "output":
            result = fx.map_arg(node.args[0], values.__getitem__)
            values[node] = result
        else:
            args = fx.map_arg(node.args, values.__getitem__)
            kwargs = fx.map_arg(node.kwargs, values.__getitem__)
            if node.op == "call_module":
                values[node] = _call(traced.get_submodule(str(node.target)), node, args, kwargs, found)
            else:
                values[node] = evaluate(traced, node, args, kwargs)
        found[node] = shape_of(values[node])
        for used in last.get(node, ()):
            del values[used]
    return result


def _call(module: nn.Module, node: fx.Node, args: tuple[Any, ...], kwargs: Mapping[str, Any], found: Shapes) -> Any:
    if not is_choice(module):
        return module(*args, **kwargs)
    branches = module.branches
    assert isinstance(branches, nn.ModuleList)
    results = [_run(branch, args, found) for branch in branches if isinstance(branch, fx.GraphModule)]
    got = [tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__ for result in results]
    if len(set(got)) != 1 or not isinstance(results[0], Tensor):
        raise unsupported(
            node,
            "the branches of a SuperNetModule must give tensors of one shape",
            got=", ".join(f"branch {index}: {shape}" for index, shape in enumerate(got)),
            hints=("Choose padding and stride so that every branch keeps the same size.",),
        )
    return results[0]


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """After which node each value is no longer needed."""
    seen: set[fx.Node] = set()
    last: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(graph.nodes):
        for source in node.all_input_nodes:
            if source not in seen:
                seen.add(source)
                last.setdefault(node, []).append(source)
    return last
