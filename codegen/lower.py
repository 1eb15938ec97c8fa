# SPDX-License-Identifier: Apache-2.0
"""Ops become steps, tensors get places: the whole of what the templates are filled from.

A tensor lies in a caller's input buffer, in a caller's output buffer, or in the arena. A reshape whose bytes do not
change is no step: its tensor is an alias. An output may overwrite a dying input where its kernel allows that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from plinio_deploy.codegen import fusion, names
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.liveness import Block
from plinio_deploy.codegen.memory import MemoryPlan, plan
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.network import Network, Tensor, op_inputs


@dataclass(frozen=True)
class Place:
    """Where a tensor lies.

    Attributes:
        kind: ``input``, ``output`` (of the caller) or ``arena``.
        index: which input or output; 0 for the arena.
        offset: bytes from the start of the arena, or of all inputs (outputs) back to back.
    """

    kind: str
    index: int
    offset: int


@dataclass(frozen=True, eq=False)
class Step:
    """One layer function.

    Attributes:
        index: its position in `net_run`.
        symbol: the C function.
        site: op and tensors.
        kernel: what executes it.
        scratch: offset of its scratch memory in the arena, ``None`` if it needs none.
    """

    index: int
    symbol: str
    site: Site
    kernel: Kernel
    scratch: int | None


@dataclass(frozen=True, eq=False)
class Program:
    """A network that is ready to be written as C.

    Attributes:
        network: the source.
        steps: in execution order.
        aliases: tensors without bytes of their own, by name, and the tensor whose bytes they are.
        places: of every tensor, aliases included, but those between an op and the one that executes it along.
        lifetimes: first and last step of each arena tensor (not of aliases).
        memory: the arena.
    """

    network: Network
    steps: tuple[Step, ...]
    aliases: Mapping[str, str]
    places: Mapping[str, Place]
    lifetimes: Mapping[str, tuple[int, int]]
    memory: MemoryPlan


@dataclass
class _Aliases:
    """Sets of tensors that share their bytes; each set has at most one tensor that a caller provides or receives."""

    network: Network
    source: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.bound = {*self.network.inputs, *self.network.outputs}

    def root(self, tensor: str) -> str:
        return self.source.get(tensor, tensor)

    def may_join(self, tensor: str, source: str) -> bool:
        """Whether ``tensor`` may be the bytes of ``source``: not if the caller owns both."""
        return not (self._owned(self.root(source)) and tensor in self.bound)

    def _owned(self, root: str) -> bool:
        return root in self.bound or any(name in self.bound for name, of in self.source.items() if of == root)

    def join(self, tensor: str, source: str) -> None:
        self.source[tensor] = self.root(source)


def lower(network: Network, prefix: str, isa: frozenset[str], schedule: Schedule | None = None) -> Program:
    """Choose kernels, decide what shares memory, and place everything.

    Args:
        network: verified.
        prefix: of all symbols, checked.
        isa: instruction set features that kernels may use.
        schedule: kernels of some layers or all; the others take the cheapest.

    Raises:
        UnsupportedModel: an op that no kernel executes.
        UsageError: the schedule does not suit the network.
    """
    schedule = schedule or Schedule()
    schedule.check(network)
    aliases = _Aliases(network)
    fused = fusion.fused(network, isa, schedule)
    absorbed = fusion.absorbed(fused)
    chosen: list[tuple[Site, Kernel]] = []
    for op in network.ops:
        if op.name in absorbed:
            continue
        may_alias = aliases.may_join(op.output, op_inputs(op)[0])
        site = fused.get(op.name) or Site.of(network, op, isa, may_alias=may_alias)
        kernel = schedule.kernel(site)
        if kernel.template is None:
            aliases.join(op.output, op_inputs(op)[0])
        else:
            chosen.append((site, kernel))
    lifetimes = _lifetimes(network, aliases, [site for site, _ in chosen])
    blocks, members = _blocks(chosen, aliases, lifetimes)
    memory = plan(blocks)
    symbols = names.layer_symbols(prefix, (site.op.name for site, _ in chosen))
    steps = tuple(
        Step(index, symbol, site, kernel, memory.offsets.get(_scratch(site)))
        for index, (symbol, (site, kernel)) in enumerate(zip(symbols, chosen, strict=True))
    )
    places = _places(network, aliases, {name: memory.offsets[block] for name, block in members.items()})
    return Program(network, steps, dict(aliases.source), places, lifetimes, memory)


def _scratch(site: Site) -> str:
    return f"{site.op.name}:scratch"


def _lifetimes(network: Network, aliases: _Aliases, sites: list[Site]) -> dict[str, tuple[int, int]]:
    """First and last step of every tensor that needs arena, by root."""
    owned = {aliases.root(name) for name in network.inputs}
    owned |= {aliases.root(name) for name in network.outputs}
    lifetimes: dict[str, tuple[int, int]] = {}
    for index, site in enumerate(sites):
        for tensor in (*site.inputs, site.output):
            root = aliases.root(tensor.name)
            if root not in owned:
                first, _ = lifetimes.get(root, (index, index))
                lifetimes[root] = (first, index)
    return lifetimes


def _blocks(
    chosen: list[tuple[Site, Kernel]], aliases: _Aliases, lifetimes: Mapping[str, tuple[int, int]]
) -> tuple[list[Block], dict[str, str]]:
    """Blocks to place, and the block of each arena tensor: one that overwrites another shares its block."""
    members: dict[str, str] = {}
    blocks: dict[str, Block] = {}
    for index, (site, kernel) in enumerate(chosen):
        scratch = kernel.scratch_bytes(site)
        if scratch:
            blocks[_scratch(site)] = Block(_scratch(site), scratch, index, index)
        name = aliases.root(site.output.name)
        if name not in lifetimes:
            continue
        target = name
        for position in kernel.in_place(site):
            source = aliases.root(site.inputs[position].name)
            if (
                source in lifetimes
                and lifetimes[source][1] == index
                and site.inputs[position].nbytes == site.output.nbytes
            ):
                target = members[source]
                break
        members[name] = target
        first = blocks[target].first if target in blocks else index
        blocks[target] = Block(target, site.output.nbytes, first, lifetimes[name][1])
    return list(blocks.values()), members


def _places(network: Network, aliases: _Aliases, arena: Mapping[str, int]) -> dict[str, Place]:
    places: dict[str, Place] = {name: Place("arena", 0, offset) for name, offset in arena.items()}
    for kind, tensors in (("input", network.input_tensors()), ("output", network.output_tensors())):
        for index, (tensor, offset) in enumerate(zip(tensors, _starts(tensors), strict=True)):
            places[aliases.root(tensor.name)] = Place(kind, index, offset)
    return {name: places[aliases.root(name)] for name in network.tensors if aliases.root(name) in places}


def _starts(tensors: tuple[Tensor, ...]) -> list[int]:
    """Offset of each tensor when all lie back to back."""
    return [0, *accumulate(tensor.nbytes for tensor in tensors)][: len(tensors)]
