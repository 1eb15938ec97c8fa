# SPDX-License-Identifier: Apache-2.0
"""What a kernel is: one way to execute one kind of op, with what it can do, what it costs and how it is written.

A module in `plinio_deploy.codegen.ops` defines kernels and lists them in ``KERNELS``; nothing else has to be touched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Network, Op, Tensor, op_inputs


@dataclass(frozen=True, eq=False)
class Site:
    """The place that a kernel is chosen for: one op between its tensors, on one instruction set.

    Attributes:
        op: the op.
        inputs: the tensors it reads, in order.
        output: the tensor it writes.
        macs: its nominal multiply-accumulates.
        isa: instruction set features of the target, such as ``dsp``; empty for plain C.
        may_alias: whether the output may be the very bytes of the first input: not if a caller owns both.
        producer: the convolution that is executed along with this op, an add, its only reader (`codegen/fusion.py`).
            Then ``inputs`` are what the convolution reads and what its output is added to.
    """

    op: Op
    inputs: tuple[Tensor, ...]
    output: Tensor
    macs: int
    isa: frozenset[str]
    may_alias: bool
    producer: Site | None = None

    @staticmethod
    def of(network: Network, op: Op, isa: frozenset[str], *, may_alias: bool) -> Site:
        """The site of an op in a network."""
        inputs = tuple(network.tensors[name] for name in op_inputs(op))
        return Site(op, inputs, network.tensors[op.output], network.macs(op), isa, may_alias)


class Kernel(ABC):
    """One way to execute one kind of op.

    Attributes:
        name: unique; appears in the manifest and in reports. Kernels that differ in numbers only, which a schedule
            gives as parameters, have names such as ``conv_winograd_scratch(patches=8)``; see `named`.
        template: file below ``templates/`` that renders the body of the layer's function; ``None`` if no code runs.
        parts: file below ``templates/`` that renders what stands before the layer's function, with the same variables:
            micro-kernels in assembly (top-level ``__asm__``) or in C. Each begins with a line ``#part NAME`` and
            defines ``{{ local }}_NAME``; both templates call it so. Layers whose parts are the same share one.
        absorbs: whether it executes the op that feeds a site's, too; only a schedule chooses it.
        shares: whether layers with the same body share one function, which gets its constant data as arguments.
        on_request: whether only a schedule chooses it, because what it gains costs much more memory.
    """

    name: ClassVar[str]
    template: ClassVar[str | None]
    parts: ClassVar[str | None] = None
    absorbs: ClassVar[bool] = False
    shares: ClassVar[bool] = False
    on_request: ClassVar[bool] = False

    @abstractmethod
    def handles(self, site: Site) -> bool:
        """Whether the kernel computes this op exactly, for these shapes and bit widths, on this instruction set."""

    @abstractmethod
    def cost(self, site: Site) -> float:
        """Estimated instructions of one call; the cheapest kernel that handles a site is chosen."""

    def scratch_bytes(self, site: Site) -> int:  # noqa: ARG002 - a hook
        """Arena that the kernel needs while it runs, besides its tensors."""
        return 0

    def in_place(self, site: Site) -> tuple[int, ...]:  # noqa: ARG002 - a hook
        """Positions of the inputs whose bytes the output may overwrite, if the input dies here."""
        return ()

    def arrays(self, site: Site) -> tuple[Array, ...]:  # noqa: ARG002 - a hook
        """Constant data, in the order in which it is to be written."""
        return ()

    @abstractmethod
    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """What the template needs besides ``e`` (the emitter), ``op``, ``inputs`` and ``output``.

        Args:
            site: what to execute.
            emitter: writes C expressions, knows the layer's symbol, and notes which helpers are used.
        """


def named(family: str, parameters: Mapping[str, int]) -> str:
    """The name of a kernel out of several that differ in numbers."""
    given = ", ".join(f"{name}={value}" for name, value in sorted(parameters.items()))
    return f"{family}({given})" if given else family


def elements_cost(site: Site, per_element: float) -> float:
    """Cost of a kernel that does the same work for each output element."""
    return per_element * site.output.elements


def same_bytes(first: Tensor, second: Tensor) -> bool:
    """Whether equal codes in equal order make equal bytes, although the shapes may differ."""
    if first.bits != second.bits or first.elements != second.elements:
        return False
    return first.channels == second.channels or all(t.channels * t.bits % 8 == 0 for t in (first, second))


def same_layout(first: Tensor, second: Tensor) -> bool:
    """Whether each code of both lies at the same place within its buffer."""
    return first.bits == second.bits and first.shape == second.shape
