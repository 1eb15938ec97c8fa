# SPDX-License-Identifier: Apache-2.0
"""Chips with several accelerators: what each can run, in which format, and what a layer divided among them costs.

    fast = Accelerator("fast", w_bits=8, cycles=fast_cycles, active_power=20e-3, idle_power=2e-3)
    slow = Accelerator("slow", w_bits=4, cycles=slow_cycles, ops=frozenset({"conv", "linear"}), ...)
    chip = Platform("chip", (fast, slow), clock_hz=100e6)
    search = ODiMO_MPS(model, chip.latency, input_example=x, platform=chip)

The accelerators work on one layer at a time, side by side, each on output channels of its own, and wait for each other
at its end. After ODiMO (Risso et al., 2023).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization import graph
from plinio_deploy.quantization.quantizers import check_bits
from plinio_deploy.search.cost.evaluate import LayerUse, NetworkUse, Number, as_tensor
from plinio_deploy.search.cost.layer import Layer, conv, linear, weight_bits
from plinio_deploy.search.cost.spec import NetworkCost
from plinio_deploy.search.methods.mps.qinfo import QInfo, get_default_qinfo
from plinio_deploy.verify.structure import NAME

Kind: TypeAlias = Literal["conv", "grouped", "depthwise", "linear"]
ALL_KINDS: frozenset[Kind] = frozenset({"conv", "grouped", "depthwise", "linear"})

SHARPNESS = 10.0
"""Of the smooth maximum: an accelerator that takes 10 % less than the slowest weighs 1 / e of it."""


@dataclass(frozen=True)
class Accelerator:
    """One part of a chip that computes output channels of layers.

    Attributes:
        name: a C identifier.
        w_bits: width of its weights, 2, 4 or 8; it tells the accelerators of a platform apart.
        cycles: what it takes for the output channels it is given, ``Layer.cout`` of them (a tensor in a search, 0 where
            it has none), in cycles of the platform's clock. 1-D convolutions and linear layers come as 2-D
            convolutions of height 1.
        ops: what it can run.
        a_bits: width of the activations it reads.
        narrow: the least code of its weights is left out; with 2 bits they are ternary.
        active_power, idle_power: in watts; ``None`` where nobody knows.
    """

    name: str
    w_bits: int
    cycles: Callable[[Layer], Number]
    ops: frozenset[Kind] = ALL_KINDS
    a_bits: int = 8
    narrow: bool = False
    active_power: float | None = None
    idle_power: float | None = None


@dataclass(frozen=True)
class Platform:
    """Accelerators that share the work on each layer.

    Attributes:
        name: for messages.
        accelerators: at least one.
        clock_hz: of their common clock.

    Raises:
        UsageError: no accelerator; two of one name or one width of weights, or that read activations of different
            widths; a bad name, width or op.
    """

    name: str
    accelerators: tuple[Accelerator, ...]
    clock_hz: float

    def __post_init__(self) -> None:
        if not self.accelerators:
            raise UsageError("a platform without accelerators", where=self.name, expected="at least one")
        for unit in self.accelerators:
            check_bits(unit.w_bits, unit.name)
            check_bits(unit.a_bits, unit.name)
            if not NAME.match(unit.name):
                expected = "letters, digits and _"  # ops are named after it
                raise UsageError("bad name of an accelerator", where=self.name, got=unit.name, expected=expected)
            unknown = unit.ops - ALL_KINDS
            if unknown:
                expected = "some of " + ", ".join(sorted(ALL_KINDS))
                raise UsageError("unknown op", where=unit.name, got=", ".join(sorted(unknown)), expected=expected)
        self._require_one("accelerators that read different activations cannot share a layer", "a_bits", 1)
        self._require_one("two accelerators of one name", "name", len(self.accelerators))
        self._require_one("the width of their weights must tell accelerators apart", "w_bits", len(self.accelerators))

    def _require_one(self, problem: str, what: str, count: int) -> None:
        found = [getattr(unit, what) for unit in self.accelerators]
        if len(set(found)) != count:
            raise UsageError(problem, where=self.name, got=f"{what} " + ", ".join(map(str, found)))

    def able(self, kind: Kind) -> tuple[Accelerator, ...]:
        """The accelerators that can run a layer of this kind."""
        return tuple(unit for unit in self.accelerators if kind in unit.ops)

    def of_width(self, bits: int) -> Accelerator:
        """The accelerator whose weights have this width."""
        return next(unit for unit in self.accelerators if unit.w_bits == bits)

    def qinfo(self, found: graph.Graph) -> QInfo:
        """The search space of a model: the widths that stand for the accelerators that can run each layer."""
        activations = (self.accelerators[0].a_bits,)
        space = get_default_qinfo((8,), activations, activations)
        for node in found.nodes:
            if isinstance(node.operator, graph.Conv | graph.Linear):
                kind = kind_of(node.operator, found.parameters[node.operator.parameters].weight)
                widths = tuple(unit.w_bits for unit in self.able(kind))
                space[node.path] = {"weight": {"search_precision": widths or (8,)}}
        return space

    @property
    def latency(self) -> NetworkCost:
        """Cycles of all layers: of each, those of the accelerator that takes longest."""
        return NetworkCost(f"latency on {self.name}", partial(_latency, self), "cycle")

    @property
    def energy(self) -> NetworkCost:
        """Joules of all layers: while its part of a layer runs an accelerator is active, until the others end idle.

        One that cannot run a layer is idle for as long as the others take.

        Raises:
            UsageError: an accelerator states no power.
        """
        for unit in self.accelerators:
            if unit.active_power is None or unit.idle_power is None:
                raise UsageError(
                    "no energy without the power of each accelerator",
                    where=f"{self.name}, {unit.name}",
                    expected="active_power and idle_power in watts",
                    hints=("Search for latency instead.",),
                )
        return NetworkCost(f"energy on {self.name}", partial(_energy, self), "J")

    def shares(self, use: NetworkUse) -> Iterator[list[tuple[Accelerator, Tensor]]]:
        """For each call of each layer the accelerators that can run it, and the cycles each takes, 0-dim.

        Layers that the platform cannot run are passed over: they cost it nothing.
        """
        calls: list[list[LayerUse]] = []
        for part in use.layers:
            if issubclass(part.kind, nn.Conv1d | nn.Conv2d | nn.Linear):
                if part.part == 0 or not calls:
                    calls.append([])
                calls[-1].append(part)
        for parts in calls:
            kind, _ = _layer(parts[0])
            taken: dict[int, Number] = {unit.w_bits: 0.0 for unit in self.able(kind)}
            for part in parts:
                bits = int(float(weight_bits(part.spec)))
                if bits in taken:
                    taken[bits] = taken[bits] + self.of_width(bits).cycles(_layer(part)[1]) * part.weight
            if taken:
                yield [(self.of_width(bits), as_tensor(cycles)) for bits, cycles in taken.items()]


def kind_of(operator: graph.Conv | graph.Linear, weight: Tensor) -> Kind:
    """The kind of a layer of the captured graph; ``weight`` as in the graph's parameters."""
    if isinstance(operator, graph.Linear):
        return "linear"
    return _conv_kind(operator.groups, weight.shape[1])


def _conv_kind(groups: int, inputs_per_group: int) -> Kind:
    if groups == 1:
        return "conv"
    return "depthwise" if inputs_per_group == 1 else "grouped"


def _layer(use: LayerUse) -> tuple[Kind, Layer]:
    """What an accelerator is given, as a 2-D convolution."""
    spec: dict[str, Any] = {**use.spec, "static": use.static or use.spec}
    if issubclass(use.kind, nn.Linear):
        layer = linear(spec)
        flat = Layer(layer.cin, layer.cout, 1, False, (1.0, 1.0), (layer.positions, 1), layer.bias)
        return "linear", flat
    layer = conv(spec)
    static = spec["static"]
    if len(layer.kernel) == 1:
        layer = dataclasses.replace(layer, kernel=(1.0, layer.kernel[0]), spatial=(1, layer.spatial[0]))
    if layer.depthwise:  # each output channel reads one input channel: these are divided as well
        layer = dataclasses.replace(layer, cin=layer.cin * (layer.cout / static["out_channels"]))
    return _conv_kind(layer.groups, int(static["in_channels"]) // layer.groups), layer


def smooth_max(values: Sequence[Tensor]) -> Tensor:
    """The greatest of some numbers >= 0, with the slope of ``sum(softmax(v) * v)``: all that are near it get some.

    The softmax is taken of the values divided by the greatest and times `SHARPNESS`, so that it means the same for
    cycles and for joules.

    Args:
        values: 0-dim tensors.
    """
    stacked = torch.stack([value.to(values[0]) for value in values])
    greatest = stacked.detach().max()
    weights = torch.softmax(stacked * (SHARPNESS / greatest.clamp_min(1e-30)), 0)
    smooth = (weights * stacked).sum()
    return smooth + (greatest - smooth).detach()


def _latency(platform: Platform, use: NetworkUse) -> Tensor:
    total = torch.zeros(())
    for shares in platform.shares(use):
        total = total + smooth_max([cycles for _, cycles in shares])
    return total


def _energy(platform: Platform, use: NetworkUse) -> Tensor:
    total = torch.zeros(())
    for shares in platform.shares(use):
        whole = smooth_max([cycles for _, cycles in shares])
        busy = {unit.name: cycles for unit, cycles in shares}
        for unit in platform.accelerators:
            cycles = busy.get(unit.name, torch.zeros(()))
            active, idle = unit.active_power, unit.idle_power
            assert active is not None
            assert idle is not None
            total = total + (active * cycles + idle * (whole - cycles)) / platform.clock_hz
    return total
