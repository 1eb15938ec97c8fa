# SPDX-License-Identifier: Apache-2.0
"""Ops become steps, tensors get places: the whole of what the templates are filled from.

A tensor lies in a caller's input buffer, in a caller's output buffer, or in the arena. A reshape whose bytes do not
change is no step: its tensor is an alias. An output may overwrite a dying input where its kernel allows that.

Steps that run in bands of rows (`plinio_deploy.codegen.bands`) take turns, but are planned as if they ran once: every
band uses the same places. What lives from band to band lives from the first of these steps to the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from plinio_deploy.codegen import bands, fusion, names
from plinio_deploy.codegen.bands import Piece, Stage, row_bytes
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.liveness import Block
from plinio_deploy.codegen.memory import MemoryPlan, plan
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.network import Network, Op, Tensor, op_inputs


@dataclass(frozen=True)
class Place:
    """Where a tensor lies.

    Attributes:
        kind: ``input``, ``output`` (of the caller) or ``arena``.
        index: which input or output; 0 for the arena.
        offset: bytes from the start of the arena, or of all inputs (outputs) back to back.
        within: bytes of these from the start of the tensor, or of the buffer of its present rows.
    """

    kind: str
    index: int
    offset: int
    within: int = 0

    def at(self, nbytes: int) -> Place:
        """The place so many bytes further on."""
        return replace(self, offset=self.offset + nbytes, within=self.within + nbytes)


@dataclass(frozen=True)
class Copy:
    """Bytes that are copied within the arena, from one offset to another; the two do not overlap."""

    source: int
    target: int
    nbytes: int


@dataclass(frozen=True, eq=False)
class Call:
    """One band of a step.

    Attributes:
        piece: the rows.
        site: the op on these rows; bands that need the same code share it.
        places: of the first rows of the inputs and of the output.
        before, after: rows kept from the band before, and for the next.
    """

    piece: Piece
    site: Site
    places: tuple[Place, ...]
    before: tuple[Copy, ...]
    after: tuple[Copy, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One layer function.

    Attributes:
        index: its position in `net_run`.
        symbol: the C function.
        site: op and tensors.
        kernel: what executes it.
        scratch: offset of its scratch memory in the arena, ``None`` if it needs none.
        calls: what it does in each band, if it runs in bands.
    """

    index: int
    symbol: str
    site: Site
    kernel: Kernel
    scratch: int | None
    calls: tuple[Call, ...] = ()

    @property
    def sites(self) -> tuple[Site, ...]:
        """What its kernel executes: the whole layer, or a band of each shape."""
        return tuple(dict.fromkeys(call.site for call in self.calls)) or (self.site,)

    @property
    def scratch_bytes(self) -> int:
        """Arena that it needs while it runs, besides its tensors."""
        return max(map(self.kernel.scratch_bytes, self.sites))


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
        stage: the layers that run in bands.
    """

    network: Network
    steps: tuple[Step, ...]
    aliases: Mapping[str, str]
    places: Mapping[str, Place]
    lifetimes: Mapping[str, tuple[int, int]]
    memory: MemoryPlan
    stage: Stage | None = None


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
    stage = bands.divide(network, schedule.bands) if schedule.bands is not None else None
    aliases = _Aliases(network)
    fused = fusion.fused(network, isa, schedule)
    absorbed = fusion.absorbed(fused)
    bands.check_whole(stage, (*fused, *absorbed))
    chosen: list[_Chosen] = []
    for op in network.ops:
        if op.name in absorbed:
            continue
        may_alias = aliases.may_join(op.output, op_inputs(op)[0])
        site = fused.get(op.name) or Site.of(network, op, isa, may_alias=may_alias)
        pieces = _piece_sites(site, stage)
        kernel = schedule.kernel(site, list(dict.fromkeys(pieces)))
        if kernel.template is None:
            aliases.join(op.output, op_inputs(op)[0])
        else:
            chosen.append(_Chosen(site, kernel, pieces))
    lifetimes = _lifetimes(aliases, [item.site for item in chosen], stage)
    blocks, members = _blocks(chosen, aliases, lifetimes, stage)
    memory = plan(blocks)
    places = _places(network, aliases, {name: memory.offsets[block] for name, block in members.items()})
    symbols = names.layer_symbols(prefix, (item.site.op.name for item in chosen))
    steps = tuple(
        Step(
            index,
            symbol,
            item.site,
            item.kernel,
            memory.offsets.get(_scratch(item.site)),
            tuple(_calls(item, stage, places, memory)) if stage is not None else (),
        )
        for index, (symbol, item) in enumerate(zip(symbols, chosen, strict=True))
    )
    return Program(network, steps, dict(aliases.source), places, lifetimes, memory, stage)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """A layer that executes code, its kernel, and the site of each of its bands."""

    site: Site
    kernel: Kernel
    pieces: tuple[Site, ...]


def _piece_sites(site: Site, stage: Stage | None) -> tuple[Site, ...]:
    """Of each band of a layer; bands of equal shape share one."""
    found: dict[object, Site] = {}
    sites = []
    for piece in stage.pieces.get(site.op.name, ()) if stage is not None else ():
        made = bands.piece_site(site, piece)
        shape = (made.output.shape, *(tensor.shape for tensor in made.inputs), getattr(made.op, "padding", ()))
        sites.append(found.setdefault(shape, made))
    return tuple(sites)


def _calls(chosen: _Chosen, stage: Stage, places: Mapping[str, Place], memory: MemoryPlan) -> Iterator[Call]:
    """What a layer does in each band.

    Rows need not start at words: they only do not where pixels do not either, which every kernel copes with.
    """
    whole, op = chosen.site, chosen.site.op
    tensors = (*whole.inputs, whole.output)
    for piece, site in zip(stage.pieces.get(op.name, ()), chosen.pieces, strict=True):
        found = []
        for tensor, rows in zip(tensors, (*piece.inputs, piece.rows), strict=True):
            rolling = stage.rolling.get(tensor.name)
            first = rolling.rows[piece.band].start if rolling is not None else 0
            found.append(places[tensor.name].at((rows.start - first) * row_bytes(tensor)))
        moved = [_moves(op, tensor, stage, piece.band, memory) for tensor in dict.fromkeys(tensors)]
        before = tuple(copy for first, _ in moved for copy in first)
        yield Call(piece, site, tuple(found), before, tuple(copy for _, last in moved for copy in last))


def _moves(op: Op, tensor: Tensor, stage: Stage, band: int, memory: MemoryPlan) -> tuple[list[Copy], list[Copy]]:
    """Rows to bring back before a layer's turn, if it is the first to use a tensor in a band, and to keep after it."""
    rolling, active = stage.rolling.get(tensor.name), stage.active(tensor.name, band)
    if rolling is None or not rolling.spare:
        return [], []
    size = row_bytes(tensor)
    buffer, spare = memory.offsets[tensor.name], memory.offsets[kept(tensor.name)]
    rows, put = rolling.rows[band], rolling.kept[band]
    old = len(rolling.kept[band - 1]) if band else 0
    brought = [Copy(spare, buffer, old * size)] if old and op.name == active[0] else []
    aside = Copy(buffer + (put.start - rows.start) * size, spare, len(put) * size)
    return brought, [aside] if put and op.name == active[-1] else []


def kept(tensor: str) -> str:
    """The block of the rows of a tensor that wait for the next band."""
    return f"{tensor}:kept"


def _scratch(site: Site) -> str:
    return f"{site.op.name}:scratch"


def _lifetimes(aliases: _Aliases, sites: Sequence[Site], stage: Stage | None) -> dict[str, tuple[int, int]]:
    """First and last step of every tensor that needs arena, by root; whole tensors live throughout a stage."""
    owned = {aliases.root(name) for name in aliases.bound}
    lifetimes: dict[str, tuple[int, int]] = {}
    for index, site in enumerate(sites):
        for tensor in (*site.inputs, site.output):
            root = aliases.root(tensor.name)
            if root not in owned:
                first, _ = lifetimes.get(root, (index, index))
                lifetimes[root] = (first, index)
    if stage is None:
        return lifetimes
    begin, end = _span(sites, stage)
    for name in (*stage.inputs, *stage.outputs):
        root = aliases.root(name)
        if root in lifetimes:
            first, last = lifetimes[root]
            lifetimes[root] = (min(first, begin), last) if name in stage.outputs else (first, max(last, end))
    return lifetimes


def _span(sites: Sequence[Site], stage: Stage) -> tuple[int, int]:
    """First and last step of a stage."""
    steps = [index for index, site in enumerate(sites) if site.op.name in stage.pieces]
    return steps[0], steps[-1]


def _blocks(
    chosen: Sequence[_Chosen], aliases: _Aliases, lifetimes: Mapping[str, tuple[int, int]], stage: Stage | None
) -> tuple[list[Block], dict[str, str]]:
    """Blocks to place, and the block of each arena tensor: one that overwrites another shares its block."""
    members: dict[str, str] = {}
    blocks: dict[str, Block] = {}
    rolling = stage.rolling if stage is not None else {}
    for index, item in enumerate(chosen):
        site, kernel = item.site, item.kernel
        scratch = max(kernel.scratch_bytes(found) for found in dict.fromkeys(item.pieces or (site,)))
        if scratch:
            blocks[_scratch(site)] = Block(_scratch(site), scratch, index, index)
        name = aliases.root(site.output.name)
        if name not in lifetimes:
            continue
        target, nbytes = name, site.output.nbytes
        for position in kernel.in_place(site) if not item.pieces else ():
            source = aliases.root(site.inputs[position].name)
            if (
                source in lifetimes
                and lifetimes[source][1] == index
                and site.inputs[position].nbytes == site.output.nbytes
            ):
                target = members[source]
                break
        if name in rolling:
            nbytes = rolling[name].capacity * row_bytes(site.output)
            if rolling[name].spare and stage is not None:
                spare = rolling[name].spare * row_bytes(site.output)
                blocks[kept(name)] = Block(kept(name), spare, *_span([found.site for found in chosen], stage))
        members[name] = target
        first = blocks[target].first if target in blocks else lifetimes[name][0]
        blocks[target] = Block(target, nbytes, first, lifetimes[name][1])
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
