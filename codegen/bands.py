# SPDX-License-Identifier: Apache-2.0
"""Layers in bands of rows: neighbouring layers take turns, so that of a tensor between them only some rows exist.

In each turn (a band) every layer adds the rows that the later ones need for the next rows of the last layer's output.
Of a tensor between the layers one buffer holds the rows of the present band. Rows that the next band reads again, such
as those that two positions of a 3 x 3 window share, are kept aside until then and copied in front of its new rows. So
each row of each tensor is computed exactly once: no multiply-accumulate is repeated, and every row can be compared with
the interpreter's. Tensors that layers outside read or wrote are whole.

This module only says which rows each layer computes and reads in each band; rows are `range` objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.schedule import Bands
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Add, AvgPool, Concat, Conv, MaxPool, Network, Op, Pad, Requantize, Tensor, op_inputs


@dataclass(frozen=True)
class Piece:
    """What one layer does in one band.

    Attributes:
        band: number of the band.
        rows: of the output, computed now.
        inputs: rows that are read of each input.
    """

    band: int
    rows: range
    inputs: tuple[range, ...]


@dataclass(frozen=True)
class Rolling:
    """The rows of a tensor between the layers that are in memory.

    Attributes:
        rows: in each band, those in its buffer: first those kept from the band before, then new ones.
        kept: after each band, those at the buffer's end that later bands read again.
    """

    rows: tuple[range, ...]
    kept: tuple[range, ...]

    @property
    def capacity(self) -> int:
        """Most rows in the buffer."""
        return max(map(len, self.rows))

    @property
    def spare(self) -> int:
        """Most rows kept."""
        return max(map(len, self.kept))


@dataclass(frozen=True, eq=False)
class Stage:
    """The layers that run in bands.

    Attributes:
        ops: in execution order.
        count: number of bands.
        pieces: of each layer, by its name, in order.
        rolling: tensors between the layers, by name.
        inputs: names of the tensors that come from outside, whole.
        outputs: names of the tensors that go outside, whole.
    """

    ops: tuple[Op, ...]
    count: int
    pieces: Mapping[str, tuple[Piece, ...]]
    rolling: Mapping[str, Rolling]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def active(self, tensor: str, band: int) -> list[str]:
        """Layers that write or read a tensor in a band, in order."""
        return [
            op.name
            for op in self.ops
            if tensor in (op.output, *op_inputs(op)) and any(piece.band == band for piece in self.pieces[op.name])
        ]


def runs_in_bands(network: Network, op: Op) -> bool:
    """Whether some rows of an op's output can be computed from some rows of its inputs."""
    if any(len(network.tensors[name].shape) != 3 for name in (*op_inputs(op), op.output)):
        return False
    if isinstance(op, Concat):
        return op.axis != 0
    if isinstance(op, Pad):
        return op.padding[:2] == (0, 0)
    return isinstance(op, Conv | AvgPool | MaxPool | Add | Requantize)


def divide(network: Network, bands: Bands) -> Stage:
    """Work out which rows are computed in which band.

    Raises:
        UsageError: the bands name layers that the network lacks or that cannot run in bands, or some band of a layer
            would lie in the padding alone.
    """
    ops = _between(network, bands)
    height = network.tensors[ops[-1].output].shape[0]
    count = -(-height // bands.rows)
    if count < 2:
        raise _unsuitable(bands, f"{height} rows of {ops[-1].output}", "fewer rows per band")
    written = {op.output for op in ops}
    outputs = tuple(op.output for op in ops if _leaves(network, op.output, ops))
    ends = _ends(network, ops, bands.rows, count)
    pieces = {op.name: tuple(_pieces(network, op, ends[op.output])) for op in ops}
    for name, found in pieces.items():
        if any(len(rows) == 0 for piece in found for rows in piece.inputs):
            raise _unsuitable(bands, f"a band of {name} lies in the padding alone", "more rows per band")
    rolling = {name: _rolling(network, ops, name, ends) for name in ends if name not in outputs}
    inputs = tuple(dict.fromkeys(name for op in ops for name in op_inputs(op) if name not in written))
    return Stage(ops, count, pieces, rolling, inputs, outputs)


def piece_site(whole: Site, piece: Piece) -> Site:
    """The site of one band of a layer: the same op on fewer rows, with the padding that it meets there."""
    op, output = whole.op, replace(whole.output, shape=(len(piece.rows), *whole.output.shape[1:]))
    inputs = tuple(
        replace(tensor, shape=(len(rows), *tensor.shape[1:]))
        for tensor, rows in zip(whole.inputs, piece.inputs, strict=True)
    )
    if isinstance(op, Conv | AvgPool | MaxPool):
        first, end = _span(op, piece.rows)
        rows = piece.inputs[0]
        op = replace(op, padding=(rows.start - first, max(0, end - rows.stop), *op.padding[2:]))
    macs = whole.macs // whole.output.shape[0] * len(piece.rows)
    return replace(whole, op=op, inputs=inputs, output=output, macs=macs)


def check_whole(stage: Stage | None, joined: Iterable[str]) -> None:
    """Raises `UsageError` if a layer that runs in bands is among those that are executed along with another."""
    for name in joined:
        if stage is not None and name in stage.pieces:
            raise UsageError(
                "a layer cannot both run in bands of rows and be executed along with another",
                where=name,
                hints=("leave one of the two out of the schedule",),
            )


def row_bytes(tensor: Tensor) -> int:
    """Bytes of one row of an image."""
    return tensor.shape[1] * tensor.row_bytes


def _between(network: Network, bands: Bands) -> tuple[Op, ...]:
    names = [op.name for op in network.ops]
    for name in (bands.first, bands.last):
        if name not in names:
            raise _unsuitable(bands, f"no layer {name}", "one of " + ", ".join(names))
    ops = network.ops[names.index(bands.first) : names.index(bands.last) + 1]
    if len(ops) < 2:
        raise _unsuitable(bands, f"{len(ops)} layers", "at least two, the first before the last")
    for op in ops:
        if not runs_in_bands(network, op):
            raise _unsuitable(bands, f"{op.name}, a {op.kind}", "layers that work on rows of an image")
    return ops


def _unsuitable(bands: Bands, got: str, expected: str) -> UsageError:
    return UsageError(
        "these layers cannot run in bands of rows",
        where=f"{bands.first} to {bands.last}, {bands.rows} rows at a time",
        got=got,
        expected=expected,
    )


def _leaves(network: Network, tensor: str, ops: Sequence[Op]) -> bool:
    """Whether somebody outside reads a tensor."""
    inside = {op.name for op in ops}
    return tensor in network.outputs or any(op.name not in inside for op in network.consumers(tensor))


def _span(op: Op, rows: range) -> tuple[int, int]:
    """The input rows under some rows of the output, first and one past the last; they may reach into the padding."""
    if not isinstance(op, Conv | AvgPool | MaxPool):
        return rows.start, rows.stop
    dilation = 1 if isinstance(op, AvgPool) else op.dilation[0]
    before, stride, extent = op.padding[0], op.stride[0], (op.kernel[0] - 1) * dilation + 1
    return rows.start * stride - before, (rows.stop - 1) * stride - before + extent


def _under(op: Op, rows: range, height: int) -> range:
    """The same without the padding."""
    first, end = _span(op, rows)
    first = min(max(0, first), height)
    return range(first, max(first, min(end, height)))


def _height(network: Network, tensor: str) -> int:
    return network.tensors[tensor].shape[0]


def _ends(network: Network, ops: Sequence[Op], rows: int, count: int) -> dict[str, list[int]]:
    """How many rows of each tensor are there after each band."""
    last = _height(network, ops[-1].output)
    goal = [min(last, rows * (band + 1)) for band in range(count)]
    ends: dict[str, list[int]] = {ops[-1].output: goal}
    for op in reversed(ops[:-1]):
        height = _height(network, op.output)
        readers = [reader for reader in ops if op.output in op_inputs(reader)]
        ends[op.output] = [
            max(
                (_under(reader, range(found), height).stop if found else 0)
                for reader in readers
                for found in [ends[reader.output][band]]
            )
            if readers
            else -(-height * goal[band] // last)
            for band in range(count)
        ]
        ends[op.output][-1] = height
    return ends


def _pieces(network: Network, op: Op, ends: Sequence[int]) -> Iterable[Piece]:
    for band, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if end > start:
            rows = range(start, end)
            yield Piece(band, rows, tuple(_under(op, rows, _height(network, name)) for name in op_inputs(op)))


def _rolling(network: Network, ops: Sequence[Op], tensor: str, ends: Mapping[str, Sequence[int]]) -> Rolling:
    height = _height(network, tensor)
    kept = []
    for band, end in enumerate(ends[tensor]):
        needed = [end]
        for reader in ops:
            done, whole = ends[reader.output][band], _height(network, reader.output)
            if tensor in op_inputs(reader) and done < whole:
                needed.append(_under(reader, range(done, whole), height).start)
        kept.append(range(min(needed), end))
    rows = tuple(range(before.start, end) for before, end in zip([range(0), *kept], ends[tensor], strict=False))
    return Rolling(rows, tuple(kept))
