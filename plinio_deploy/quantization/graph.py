# SPDX-License-Identifier: Apache-2.0
"""The captured graph: what a PyTorch model does to one sample, in operators that have an integer form.

::

    graph    = nodes in execution order, names of the inputs and of the outputs
    node     = name, operator, names of the nodes it reads, shape of its result, where it stands in the user's code
    operator = Input | Conv | Linear | BatchNorm | Clamp | Add | Concat | AvgPool | MaxPool | Mean
             | Reshape | Permute | Pad

Shapes are in torch's order and leave the batch out: ``(C, H, W)``, ``(C, L)`` or ``(C,)``. Dimensions (`Concat.dim`,
`Mean.dims`, `Permute.dims`) are torch's and count the batch as 0. Kernels, strides, paddings and dilations are always
two-dimensional; ``spatial`` says whether the tensors have one (``(C, L)``, then the height is 1) or two spatial
dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[int, int, int, int]
"""Elements added at (top, bottom, left, right)."""


@dataclass(frozen=True)
class Where:
    """A place in the user's model.

    Attributes:
        module: path of the module, as in ``named_modules``; empty for the root.
        source: ``file:line`` of the user's code that called the operator, or empty if unknown.
    """

    module: str
    source: str

    def __str__(self) -> str:
        module = self.module or "the model itself"
        return f"{module} ({self.source})" if self.source else module


@dataclass(frozen=True)
class Input:
    """A tensor that the caller provides; ``index`` is its position among the model's arguments."""

    index: int


@dataclass(frozen=True)
class Conv:
    """Convolution; its weight, under ``Graph.parameters[parameters]``, is ``(C_out, C_in / groups, K_h, K_w)``."""

    parameters: str
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    spatial: int


@dataclass(frozen=True)
class Linear:
    """Product over the last dimension; its weight, under ``Graph.parameters[parameters]``, is ``(C_out, C_in)``."""

    parameters: str


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """``x * scale + shift`` per channel (dimension 1), from the running statistics that ``key`` names."""

    scale: Tensor
    shift: Tensor
    key: str


@dataclass(frozen=True)
class Clamp:
    """Saturation to ``[low, high]`` (either may be infinite): ReLU, ReLU6, hardtanh, clamp."""

    low: float
    high: float


def compose(first: Clamp | None, second: Clamp) -> Clamp:
    """First one clamp, then the other."""
    if first is None:
        return second

    def saturate(value: float) -> float:
        return min(max(value, second.low), second.high)

    return Clamp(saturate(first.low), saturate(first.high))


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape."""


@dataclass(frozen=True)
class Concat:
    """Inputs one after another along ``dim``."""

    dim: int


@dataclass(frozen=True)
class AvgPool:
    """Window sum over zero-padded input, divided by ``divisor``."""

    kernel: Pair
    stride: Pair
    padding: Padding
    divisor: int
    spatial: int


@dataclass(frozen=True)
class MaxPool:
    """Window maximum; padding never wins."""

    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair
    spatial: int


@dataclass(frozen=True)
class Mean:
    """Average over whole dimensions."""

    dims: tuple[int, ...]
    keepdim: bool


@dataclass(frozen=True)
class Reshape:
    """The same elements in torch's order under the node's shape."""


@dataclass(frozen=True)
class Permute:
    """Dimensions in another order; ``dims[0]`` is 0."""

    dims: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Spatial padding with zeros."""

    padding: Padding
    spatial: int


Operator: TypeAlias = (
    Input | Conv | Linear | BatchNorm | Clamp | Add | Concat | AvgPool | MaxPool | Mean | Reshape | Permute | Pad
)


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weight and bias of a layer; layers that share them name the same entry of ``Graph.parameters``.

    Attributes:
        weight, bias: as they count.
        folded: the factor of the batch norm that was folded into them, ``(C_out,)``; ``None`` if there was none.
    """

    weight: Tensor
    bias: Tensor | None
    folded: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """One operator call.

    Attributes:
        name: a C identifier, unique in the graph; the result goes by it too.
        operator: what is done.
        inputs: names of the nodes whose results it reads.
        shape: of the result, without the batch, in torch's order.
        path: module path of the layer, or of the module that calls the operator plus the operator's name; what a
            configuration's per-layer keys are matched with.
        where: its place in the user's code, for messages.
        clamp: saturation of the result that was fused in (a ReLU), or ``None``.
    """

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    path: str
    where: Where
    clamp: Clamp | None = None

    @property
    def saturation(self) -> Clamp:
        """Bounds of the result, fused or the node's own; infinite where there are none."""
        own = self.operator if isinstance(self.operator, Clamp) else Clamp(-math.inf, math.inf)
        return own if self.clamp is None else compose(own, self.clamp)


@dataclass(frozen=True)
class PostProcess:
    """An operator at the very end of the model that is left to the host.

    Attributes:
        output: index among the model's outputs.
        kind: ``softmax``, ``log_softmax``, ``sigmoid`` or ``argmax``.
        dim: torch dimension, or ``None`` for ``sigmoid``.
        keepdim: for ``argmax``: whether the dimension stays, with extent 1.
    """

    output: int
    kind: str
    dim: int | None
    keepdim: bool = False


@dataclass(frozen=True, eq=False)
class Graph:
    """A captured model.

    Attributes:
        nodes: in execution order; names are unique.
        inputs: names of the `Input` nodes, in the order of the model's arguments.
        outputs: names of the nodes whose results the model returns, in order.
        parameters: weights and biases by key.
        postprocess: what the host is to do with which output.
        single_output: whether the model returns one tensor, not a tuple of one.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Parameters]
    postprocess: tuple[PostProcess, ...] = ()
    single_output: bool = True

    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    def readers(self) -> dict[str, list[str]]:
        """For each node the names of the nodes that read it, in execution order, once per use."""
        readers: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node.name)
        return readers
