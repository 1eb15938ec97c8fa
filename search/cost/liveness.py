# SPDX-License-Identifier: Apache-2.0
"""From the ops of a network in execution order to what lies in memory at each step.

The rules are those of the generated code: a step needs what it reads and what it writes; a view (flatten, identity) is
the tensor it views; an elementwise function of one tensor that nothing else reads runs within the step that wrote it.
Branches of a supernet exclude each other. Where a branch passes its input through, the supernet's output is that input,
and counts only with the probability that it is something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from plinio_deploy.search.cost.evaluate import Choice, Number, StepUse, TensorUse

Path = tuple[Choice, ...]


@dataclass(frozen=True)
class GraphOp:
    """One op of the network.

    Attributes:
        name: for tables; see `StepUse.name`.
        reads: names of the tensors it reads. Constants and weights are none.
        writes: the tensor it writes. All branches of a supernet write one tensor: the output of the supernet, under one
            name.
        kind: ``"step"`` computes; ``"unary"`` computes elementwise from its first input, so that it may run in place
            (ReLU, folded normalization, clamps); ``"view"`` moves nothing (flatten, identity, dropout).
        path: choices under which it runs, outermost first.
    """

    name: str
    reads: tuple[str, ...]
    writes: TensorUse
    kind: Literal["step", "unary", "view"] = "step"
    path: Path = ()


@dataclass(frozen=True)
class _Alias:
    """A tensor is ``source`` on a path, from before the step ``at`` on."""

    tensor: TensorUse
    source: str
    path: Path
    at: int


@dataclass
class _Life:
    """Who writes and reads a tensor (position in the order, path), and whose bytes it may be."""

    tensor: TensorUse
    writes: list[tuple[float, Path]] = field(default_factory=list)
    reads: list[tuple[float, Path]] = field(default_factory=list)
    aliases: list[tuple[str, Path]] = field(default_factory=list)


def live_steps(inputs: Sequence[TensorUse], ops: Sequence[GraphOp], outputs: Sequence[str]) -> tuple[StepUse, ...]:
    """The steps that compute, each with the tensors that lie in memory while it runs.

    Args:
        inputs: of the network.
        ops: in execution order; the branches of a supernet one after the other.
        outputs: names of the tensors the network gives back.
    """
    folded, aliases, names = _fold(inputs, ops, outputs)
    lives = _lives(inputs, folded, aliases, [_root(names, name) for name in outputs])
    steps = []
    for at, op in enumerate(folded):
        present = {name for name, life in lives.items() if _is_live(life, at, op.path)}
        live = tuple(_visible(lives, name, present, op.path) for name in lives if name in present)
        steps.append(StepUse(op.name, live, op.path))
    return tuple(steps)


def _fold(
    inputs: Sequence[TensorUse], ops: Sequence[GraphOp], outputs: Sequence[str]
) -> tuple[list[GraphOp], list[_Alias], dict[str, str]]:
    """Take out views and functions that run in place.

    Returns:
        the ops that stay; aliases; and the name each removed tensor now has.
    """
    names: dict[str, str] = {}
    writers: dict[str, list[Path]] = {tensor.name: [()] for tensor in inputs}
    for op in ops:
        writers.setdefault(op.writes.name, []).append(op.path)
    merged = {name for name, paths in writers.items() if len(paths) > 1}
    kept: list[GraphOp] = []
    aliases: list[_Alias] = []
    for op in ops:
        source = _root(names, op.reads[0]) if op.reads else ""
        if op.kind == "step" or not op.reads or (op.kind == "unary" and _read_elsewhere(op, ops, outputs)):
            kept.append(op)
        elif op.writes.name not in merged:
            names[op.writes.name] = source
        elif source not in merged and len(writers[source]) == 1 and _same(writers[source][0], op.path):
            # The tensor that a branch ends with is the supernet's output.
            names[source] = op.writes.name
        else:
            aliases.append(_Alias(op.writes, source, op.path, len(kept)))
    final = [
        replace(
            op,
            reads=tuple(_root(names, name) for name in op.reads),
            writes=replace(op.writes, name=_root(names, op.writes.name)),
        )
        for op in kept
    ]
    return final, [replace(alias, source=_root(names, alias.source)) for alias in aliases], names


def _lives(
    inputs: Sequence[TensorUse],
    ops: Sequence[GraphOp],
    aliases: Sequence[_Alias],
    outputs: Sequence[str],
) -> dict[str, _Life]:
    lives = {tensor.name: _Life(tensor, writes=[(-1, ())]) for tensor in inputs}
    lives.update({alias.tensor.name: _Life(alias.tensor) for alias in aliases})
    for at, op in enumerate(ops):
        lives.setdefault(op.writes.name, _Life(op.writes)).writes.append((at, op.path))
        for name in op.reads:
            lives.setdefault(name, _Life(TensorUse(name, 0))).reads.append((at, op.path))
    for name in outputs:
        life = lives.setdefault(name, _Life(TensorUse(name, 0)))
        life.reads.append((len(ops), ()))
        life.tensor = replace(life.tensor, outside=True)
    for alias in aliases:
        # From here on the alias stands for its source, which lives on by itself only if others read it.
        source = lives[alias.source]
        life = lives[alias.tensor.name]
        life.aliases.append((alias.source, alias.path))
        life.writes.append((alias.at - 0.5, alias.path))
        source.reads.append((alias.at - 0.5, alias.path))
    return lives


def _is_live(life: _Life, at: int, path: Path) -> bool:
    """Written by now and read now or later, or written now, by ops that can run together with a step on this path."""
    for written, write_path in life.writes:
        if written > at or not _compatible(write_path, path):
            continue
        if written == at:
            return True
        if any(read >= at and _compatible(p, path) and _compatible(p, write_path) for read, p in life.reads):
            return True
    return False


def _visible(lives: dict[str, _Life], name: str, present: set[str], path: Path) -> TensorUse:
    """The tensor with the share of it that is not some other live tensor."""
    tensor = lives[name].tensor
    share = _shared(lives, name, present, path)
    if not isinstance(share, torch.Tensor) and share == 0:
        return tensor
    return replace(tensor, elements=tensor.elements * (1 - share))


def _shared(lives: dict[str, _Life], name: str, present: set[str], path: Path) -> Number:
    """Probability that this tensor is another one that is live too."""
    total: Number = 0.0
    for source, alias_path in lives[name].aliases:
        if not _compatible(alias_path, path):
            continue
        probability: Number = 1.0
        for choice in alias_path:
            if all(choice.module != other.module for other in path):
                probability = probability * choice.theta
        total = total + probability * (1.0 if source in present else _shared(lives, source, present, path))
    return total


def _read_elsewhere(op: GraphOp, ops: Sequence[GraphOp], outputs: Sequence[str]) -> bool:
    """Whether another op that can run together with this one reads what it reads."""
    source = op.reads[0]
    return source in outputs or any(
        other is not op and source in other.reads and _compatible(op.path, other.path) for other in ops
    )


def _root(names: dict[str, str], name: str) -> str:
    while name in names:
        name = names[name]
    return name


def _same(a: Path, b: Path) -> bool:
    return [(c.module, c.branch) for c in a] == [(c.module, c.branch) for c in b]


def _compatible(a: Path, b: Path) -> bool:
    """Whether both can be on the way at once: no supernet would have to take two branches."""
    taken = {choice.module: choice.branch for choice in a}
    return all(taken.get(choice.module, choice.branch) == choice.branch for choice in b)
