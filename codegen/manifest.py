# SPDX-License-Identifier: Apache-2.0
"""``manifest.json``: what the stages after code generation know of a C project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plinio_deploy.codegen.schedule import LayerSchedule
from plinio_deploy.errors import UsageError

FILE = "manifest.json"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PieceEntry(_Entry):
    """One band of a layer.

    Attributes:
        band: its number.
        first_row, rows: of the tensor that it writes.
        offset, bytes: of these rows, from the start of what `StepEntry.place` says.
    """

    band: int
    first_row: int
    rows: int
    offset: int
    bytes: int


class CallEntry(_Entry):
    """One call of a layer function: the layer as a whole, or one band of it.

    Attributes:
        layer, tensor, place: as in `StepEntry`.
        offset, bytes: of what is written.
        first_row, rows: of the tensor; ``None`` if all of it is written.
    """

    layer: str
    tensor: str
    place: Literal[0, 1]
    offset: int
    bytes: int
    first_row: int | None = None
    rows: int | None = None


class BandsEntry(_Entry):
    """Layers that run in bands of rows, and what that costs.

    Attributes:
        first, last, rows: as in `plinio_deploy.codegen.schedule.Bands`.
        count: number of bands.
        recomputed_macs: multiply-accumulates that are executed more than once.
        copied_bytes: rows kept from band to band, each copied twice.
    """

    first: str
    last: str
    rows: int
    count: int
    recomputed_macs: int
    copied_bytes: int


class StepEntry(_Entry):
    """One layer function.

    Attributes:
        index: its position in ``net_run``.
        layer: the op's name.
        op: the op's kind.
        tensor: the tensor it writes.
        symbol: the C function.
        macs: nominal multiply-accumulates.
        w_bits: output channels by weight bit width; empty without weights.
        a_bits: bits of the (first) input's codes.
        bytes: of the tensor it writes.
        place: 0 = arena + offset, 1 = output buffer + offset.
        offset: in bytes.
        weights_bytes: constant data of the layer: weights, biases, multipliers.
        kernel: which kernel executes it.
        parts: functions that it calls and may share with other layers: micro-kernels.
        accelerators: output channels by the accelerator they are meant for; empty without an assignment.
        functions: static functions that it calls, one for each shape of a band.
        pieces: its bands; empty if it runs as a whole. ``bytes`` and ``offset`` are then those of the whole tensor, of
            which only some rows may exist at a time.
    """

    index: int
    layer: str
    op: str
    tensor: str
    symbol: str
    macs: int
    w_bits: dict[str, int]
    a_bits: int
    bytes: int
    place: Literal[0, 1]
    offset: int
    weights_bytes: int
    kernel: str
    parts: list[str] = Field(default_factory=list)
    accelerators: dict[str, int] = Field(default_factory=dict)
    functions: list[str] = Field(default_factory=list)
    pieces: list[PieceEntry] = Field(default_factory=list)


class BufferEntry(_Entry):
    """One tensor in the arena, or some rows of it, from the step that writes it to the last that reads it."""

    tensor: str
    offset: int
    bytes: int
    first_step: int
    last_step: int


class Manifest(_Entry):
    """The whole document.

    Attributes:
        schema_version: ``schema`` in JSON; 1.
        prefix: of all symbols, macros and files.
        network_digest: SHA-256 of the integer network.
        options: what `generate` was told.
        flavour: requantization of the network.
        macs: nominal multiply-accumulates of one inference.
        arena_bytes, arena_bound_bytes: the static arena, and what no placement of these buffers can go below.
        input_bytes, output_bytes: all inputs, and all outputs, back to back.
        sources: the library itself.
        trace_sources, selftest_sources: C files for tests and benches.
        selftest_main: a file with ``main`` that runs the self-test; ``None`` without vectors.
        steps: in execution order.
        aliases: tensors that are the bytes of another, by name.
        buffers: what lies in the arena.
        entry: the function that runs one inference.
        schedule: of the layers whose kernels were told, by name.
        bands: layers that run in bands of rows; ``None`` for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    prefix: str
    network_digest: str
    options: dict[str, str | list[str]]
    flavour: Literal["hi32", "tflite"]
    macs: int
    arena_bytes: int
    arena_bound_bytes: int
    input_bytes: int
    output_bytes: int
    sources: list[str]
    trace_sources: list[str]
    selftest_sources: list[str]
    selftest_main: str | None
    steps: list[StepEntry]
    aliases: dict[str, str]
    buffers: list[BufferEntry]
    entry: str
    schedule: dict[str, LayerSchedule] = Field(default_factory=dict)
    bands: BandsEntry | None = None

    @property
    def calls(self) -> list[CallEntry]:
        """The calls of layer functions that are one inference, in order; a trace has one tensor, or some rows, of each.

        Layers that run in bands follow each other without a gap and take turns.
        """
        return [call for _, call in sorted(self._keyed_calls(), key=lambda item: item[0])]

    def _keyed_calls(self) -> Iterator[tuple[tuple[int, int, int], CallEntry]]:
        turns = min((step.index for step in self.steps if step.pieces), default=0)
        for step in self.steps:
            whole = CallEntry(
                layer=step.layer, tensor=step.tensor, place=step.place, offset=step.offset, bytes=step.bytes
            )
            if not step.pieces:
                yield (step.index, 0, 0), whole
            for piece in step.pieces:
                own = piece.model_dump(exclude={"band"})
                yield (turns, piece.band, step.index), whole.model_copy(update=own)

    def dump(self) -> bytes:
        """JSON text; equal manifests make equal bytes."""
        return (self.model_dump_json(indent=2, by_alias=True) + "\n").encode()

    @staticmethod
    def parse(data: bytes, where: str = FILE) -> Manifest:
        """The manifest in a JSON text.

        Raises:
            UsageError: it is damaged, or of another version.
        """
        try:
            return Manifest.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                "the manifest of a C project cannot be read",
                where=where,
                got=f"{place}: {first['msg']}",
                hints=("generate the project again with this version",),
            ) from error
