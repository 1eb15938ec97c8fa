# SPDX-License-Identifier: Apache-2.0
"""``manifest.json``: what the stages after code generation know of a C project."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plinio_deploy.codegen.schedule import LayerSchedule
from plinio_deploy.errors import UsageError

FILE = "manifest.json"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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


class BufferEntry(_Entry):
    """One tensor in the arena, from the step that writes it to the last that reads it."""

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
