# SPDX-License-Identifier: Apache-2.0
"""What a cost is: patterns of layers with a formula each, or one formula for the whole network.

    mine = CostSpec(shared=False, default_behavior="zero")
    mine[Conv2dGeneric] = lambda spec: spec["out_channels"] * 3.0
    mine[Conv2dDW] = lambda spec: spec["out_channels"] * 1.0      # narrower: it wins, in whatever order they come
    mine[nn.LayerNorm] = lambda spec: 100.0                       # a class alone is a pattern without a constraint

A formula gets a mapping with the layer's own attributes (``in_channels``, ``kernel_size``, ``groups``, ``bias``, ...),
its ``input_shape`` and ``output_shape`` (batch of 1 first), and gives back a number or a tensor. A search method puts
tensors where it searches (``in_channels``, ``out_channels``, ``kernel_size``), so formulas use plain arithmetic and
never ``int()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch import Tensor, nn

from plinio_deploy.errors import UsageError

if TYPE_CHECKING:
    from plinio_deploy.search.cost.evaluate import NetworkUse

Spec: TypeAlias = Mapping[str, Any]
"""What a formula is given: the attributes of one use of one layer."""

Formula: TypeAlias = "Callable[[Spec], Tensor | float]"
"""Cost of one use of one layer."""

Constraint: TypeAlias = "Callable[[Spec], bool]"
"""Whether a pattern means this layer; asked about the layer as it was built, not as it is searched."""


class Op:
    """Root of the kinds that are no ``nn.Module``: what the graph does between layers.

    Their specs hold ``elements`` (of the output, a tensor where channels are searched), ``inputs`` (how many tensors
    are read), ``input_shape`` and ``output_shape``; pooling has ``kernel_size`` too.
    """


class Add(Op):
    """Elementwise sum or difference of two tensors."""


class Mul(Op):
    """Elementwise product or quotient of two tensors."""


class Pool(Op):
    """Average or maximum over windows, or over everything; ``kernel_size`` is the window."""


class Requantize(Op):
    """Scaling of one tensor to another scale that no layer before it can take over."""


class Copy(Op):
    """Data that is moved and not computed: concatenation, padding, permutation, slices."""


@dataclass(frozen=True)
class Pattern:
    """A set of layers.

    Attributes:
        name: for messages; two patterns of equal class and constraint are one.
        kind: class of the layer; a class derived from it matches too, and loses against a pattern of its own class.
        constraint: further condition on the layer as it was built.
        rank: how narrow the pattern is; of all that match, the highest wins. 0 without and 1 with a constraint is
            right, unless two constraints can hold for one layer.
    """

    name: str = field(compare=False)
    kind: type
    constraint: Constraint | None = None
    rank: int = 0

    def matches(self, kind: type, static: Spec) -> bool:
        """Whether a layer of class ``kind`` with these attributes belongs to the set."""
        return issubclass(kind, self.kind) and (self.constraint is None or self.constraint(static))


def is_depthwise(spec: Spec) -> bool:
    """One filter per channel: ``in_channels == groups == out_channels``, and more than one of them."""
    return bool(spec["groups"] > 1 and spec["in_channels"] == spec["groups"] == spec["out_channels"])


def kernel_is(*size: int) -> Constraint:
    """The kernel has exactly this size."""
    return partial(_kernel_is, size)


def _kernel_is(size: tuple[int, ...], spec: Spec) -> bool:
    return tuple(spec["kernel_size"]) == size


Conv1dGeneric = Pattern("Conv1dGeneric", nn.Conv1d)
Conv2dGeneric = Pattern("Conv2dGeneric", nn.Conv2d)
Conv3dGeneric = Pattern("Conv3dGeneric", nn.Conv3d)
ConvTranspose1dGeneric = Pattern("ConvTranspose1dGeneric", nn.ConvTranspose1d)
ConvTranspose2dGeneric = Pattern("ConvTranspose2dGeneric", nn.ConvTranspose2d)
ConvTranspose3dGeneric = Pattern("ConvTranspose3dGeneric", nn.ConvTranspose3d)
LinearGeneric = Pattern("LinearGeneric", nn.Linear)
Conv1dDW = Pattern("Conv1dDW", nn.Conv1d, is_depthwise, rank=2)
Conv2dDW = Pattern("Conv2dDW", nn.Conv2d, is_depthwise, rank=2)
Conv3dDW = Pattern("Conv3dDW", nn.Conv3d, is_depthwise, rank=2)
Conv1d3 = Pattern("Conv1d3", nn.Conv1d, kernel_is(3), rank=1)
Conv2d3x3 = Pattern("Conv2d3x3", nn.Conv2d, kernel_is(3, 3), rank=1)
AddOp = Pattern("AddOp", Add)
MulOp = Pattern("MulOp", Mul)
PoolOp = Pattern("PoolOp", Pool)
RequantizeOp = Pattern("RequantizeOp", Requantize)
CopyOp = Pattern("CopyOp", Copy)

Key: TypeAlias = "Pattern | type | tuple[type, Constraint | None]"

_FREE = tuple(
    f"torch.nn.modules.{name}"
    for name in ("activation", "batchnorm", "channelshuffle", "container", "dropout", "flatten", "instancenorm")
) + tuple(f"torch.nn.modules.{name}" for name in ("padding", "pooling", "pixelshuffle", "upsampling"))


class Cost:
    """Anything that `evaluate` prices a network with: `CostSpec` or `NetworkCost`.

    Attributes:
        unit: what it counts in; empty if it has no name here.
    """

    unit: str = ""


class CostSpec(Cost):
    """Formulas by pattern, summed over the layers of a network.

    Args:
        shared: True counts a module once however often it is called (its weights are there once); False counts every
            call.
        default_behavior: what a layer without a pattern costs: ``"zero"``, or ``"fail"``, which raises `UsageError`.
            Normalization, activations, dropout, padding, pooling modules, ``nn.Identity`` and everything that is no
            module never fail.
        unit: what it counts in (``"bit"``, ``"byte"``, ``"cycle"``, ``"op"``, ``"param"``, ``"J"``), for limits such as
            "64 kB".
    """

    def __init__(
        self, shared: bool = True, default_behavior: Literal["zero", "fail"] = "zero", *, unit: str = ""
    ) -> None:
        if default_behavior not in ("zero", "fail"):
            raise UsageError("default_behavior has two values", got=default_behavior, expected="'zero' or 'fail'")
        self.shared = shared
        self.default_behavior = default_behavior
        self.unit = unit
        self._formulas: dict[Pattern, Formula] = {}

    def __setitem__(self, key: Key, formula: Formula) -> None:
        self._formulas[as_pattern(key)] = formula

    def __getitem__(self, key: Key) -> Formula:
        return self._formulas[as_pattern(key)]

    def __contains__(self, key: Key) -> bool:
        return as_pattern(key) in self._formulas

    def __iter__(self) -> Iterator[Pattern]:
        return iter(self._formulas)

    def __len__(self) -> int:
        return len(self._formulas)

    def lookup(self, kind: type, static: Spec, name: str = "?") -> Formula | None:
        """The formula for one layer; None where it costs nothing.

        Args:
            kind: class of the layer.
            static: its attributes as it was built.
            name: module path, for messages.

        Raises:
            UsageError: no pattern matches and ``default_behavior`` is ``"fail"``, or two match and neither is narrower.
        """
        found = [pattern for pattern in self._formulas if pattern.matches(kind, static)]
        if not found:
            if self.default_behavior == "fail" and not _is_free(kind):
                raise UsageError(
                    f"the cost has no formula for {kind.__name__}",
                    where=name,
                    expected="one of " + ", ".join(sorted(pattern.name for pattern in self._formulas)),
                    hints=["Add one: cost_spec[nn.<Class>] = function.", "Or take CostSpec(default_behavior='zero')."],
                )
            return None
        order = kind.__mro__
        best = min((order.index(p.kind), -p.rank) for p in found)
        winners = [p for p in found if (order.index(p.kind), -p.rank) == best]
        if len(winners) > 1:
            raise UsageError(
                "two cost patterns mean the same layer and neither is narrower",
                where=name,
                got=" and ".join(sorted(p.name for p in winners)),
                hints=["Give one of them a higher rank: Pattern(name, kind, constraint, rank=3)."],
            )
        return self._formulas[winners[0]]


@dataclass(frozen=True)
class NetworkCost(Cost):
    """A cost of the network as a whole, which is no sum over layers: peak RAM is the first of them.

    Attributes:
        name: for messages.
        formula: from all uses and steps to one number.
        unit: as for `CostSpec`.
    """

    name: str
    formula: Callable[[NetworkUse], Tensor | float]
    unit: str = ""


def as_pattern(key: Key) -> Pattern:
    """A class, or PLiNIO's pair of class and constraint, as a `Pattern`."""
    if isinstance(key, Pattern):
        return key
    kind, constraint = key if isinstance(key, tuple) else (key, None)
    label = (
        kind.__name__ if constraint is None else f"{kind.__name__} with {getattr(constraint, '__name__', 'constraint')}"
    )
    return Pattern(label, kind, constraint, 0 if constraint is None else 1)


def _is_free(kind: type) -> bool:
    attention = issubclass(kind, nn.MultiheadAttention)  # lives among the activations and is none
    return issubclass(kind, Op | nn.Identity) or (kind.__module__ in _FREE and not attention)
