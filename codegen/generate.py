# SPDX-License-Identifier: Apache-2.0
"""An integer network as a C project, in memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plinio_deploy import __version__, storage
from plinio_deploy.artifact import Artifact
from plinio_deploy.codegen import manifest, names
from plinio_deploy.codegen.bands import row_bytes
from plinio_deploy.codegen.emit import Emitter, Helpers
from plinio_deploy.codegen.layers import Layer, Writer, run_statements, trace_statements
from plinio_deploy.codegen.lower import Program, kept, lower
from plinio_deploy.codegen.manifest import BandsEntry, BufferEntry, Manifest, PieceEntry, StepEntry
from plinio_deploy.codegen.render import helpers, render
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Conv, Linear, Network, Tensor
from plinio_deploy.verify import verify


@dataclass(frozen=True)
class Options:
    """What the user decides about the C.

    Attributes:
        prefix: starts every symbol, macro and file name.
        isa: features of the target (`plinio_deploy.targets.schema.Feature`) that kernels are chosen and weights laid
            out for. Whatever they are, any C compiler takes the project: where it does not define the feature, the
            plain C twins of the assembly are compiled, which compute the same. None means portable C.
        schedule: kernels of layers; those that it does not name take the cheapest.
    """

    prefix: str = "net"
    isa: tuple[str, ...] = ()
    schedule: Schedule = Schedule()  # noqa: RUF009 - it cannot be changed

    def as_dict(self) -> dict[str, str | list[str]]:
        """For the manifest; the schedule has its own place there."""
        return {"prefix": self.prefix, "isa": sorted(self.isa)}


@dataclass(frozen=True)
class Vectors:
    """Samples for the self-test: packed inputs (all of one sample back to back) and the outputs they must give."""

    inputs: Sequence[bytes]
    outputs: Sequence[bytes]


@dataclass
class _Project:
    """All that the file templates use, and the files made so far."""

    program: Program
    options: Options
    vectors: Vectors | None
    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, template: str, variables: Mapping[str, object]) -> None:
        self.files[name] = render(template, variables).encode()


def generate(network: Network, options: Options | None = None, vectors: Vectors | None = None) -> Artifact:
    """Write a network as C.

    Args:
        network: any integer network; it is verified first.
        options: prefix, instruction set and schedule.
        vectors: samples for ``net_selftest``; without them that function is left out.

    Returns:
        The files of the project; equal arguments give equal bytes.

    Raises:
        InvalidNetwork: the network breaks a rule.
        UnsupportedModel: no kernel executes one of its ops.
        UsageError: the prefix is not usable, the schedule does not suit, or vectors have the wrong size.
    """
    options = options or Options()
    prefix = names.check_prefix(options.prefix)
    program = lower(verify(network), prefix, frozenset(options.isa), options.schedule)
    project = _Project(program, options, vectors)
    writer = Writer(program, prefix)
    layers = [writer.layer(step) for step in program.steps]
    document = _manifest(project, layers)
    _check_vectors(vectors, document)
    variables = _variables(project, layers, document, writer.helpers)
    for suffix in _c_files(layers, vectors):
        project.add(f"{prefix}{suffix}", f"net{suffix}.j2", variables)
    project.add("CMakeLists.txt", "CMakeLists.txt.j2", variables)
    project.add("Makefile", "Makefile.j2", variables)
    project.files[manifest.FILE] = document.dump()
    return Artifact(dict(sorted(project.files.items())))


def _c_files(layers: Sequence[Layer], vectors: Vectors | None) -> list[str]:
    """Suffixes of the C files; each has a template of that name."""
    suffixes = [".h", ".c", "_layers.h", "_layers.c", "_kernels.h", "_trace.h", "_trace.c"]
    if any(layer.arrays for layer in layers):
        suffixes += ["_weights.h", "_weights.c"]
    if vectors is not None:
        suffixes += ["_selftest.h", "_selftest.c", "_selftest_main.c", "_vectors.h", "_vectors.c"]
    return suffixes


def _variables(project: _Project, layers: Sequence[Layer], document: Manifest, used: Helpers) -> dict[str, object]:
    network, prefix = project.program.network, project.options.prefix
    return {
        "version": __version__,
        "prefix": prefix,
        "macro": prefix.upper(),
        "network": network,
        "options": document.options,
        "manifest": document,
        "ins": list(zip(network.input_tensors(), _offsets(network.input_tensors()), strict=True)),
        "outs": list(zip(network.output_tensors(), _offsets(network.output_tensors()), strict=True)),
        "ctype": Emitter.ctype,
        "layers": layers,
        "run": run_statements(project.program, layers),
        "trace": trace_statements(layers),
        "unused": _unused(network, layers),
        "has_weights": any(layer.arrays for layer in layers),
        "helpers": helpers(prefix, used),
        "vectors": project.vectors,
    }


def _unused(network: Network, layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Parameters of ``net_run`` and ``net_step`` that no call uses, such as an input that nobody reads."""
    run = ["arena", *(f"in{index}" for index in range(len(network.inputs)))]
    calls = {
        "run": " ".join(layer.run_call for layer in layers),
        "trace": " ".join(call for layer in layers for call in layer.trace_calls),
    }
    words = {name: set(re.findall(r"\w+", text)) for name, text in calls.items()}
    return {
        "run": [name for name in run if name not in words["run"]],
        "trace": [name for name in ("arena", "input", "output") if name not in words["trace"]],
    }


def _offsets(tensors: Sequence[Tensor]) -> list[int]:
    return [sum(tensor.nbytes for tensor in tensors[:index]) for index in range(len(tensors))]


def _step_entry(program: Program, layer: Layer) -> StepEntry:
    step = layer.step
    site, output = step.site, step.site.output
    op = site.producer.op if site.producer else site.op
    bits, accelerators = (op.weights.bits, op.accelerators) if isinstance(op, Conv | Linear) else ((), ())
    place = program.places[output.name]
    pieces = [
        PieceEntry(
            band=call.piece.band,
            first_row=call.piece.rows.start,
            rows=len(call.piece.rows),
            offset=call.places[-1].offset,
            bytes=call.site.output.nbytes,
        )
        for call in step.calls
    ]
    return StepEntry(
        index=step.index,
        layer=site.op.name,
        op=site.op.kind,
        tensor=output.name,
        symbol=step.symbol,
        macs=site.macs,
        w_bits={str(width): count for width, count in sorted(Counter(bits).items())},
        a_bits=site.inputs[0].bits,
        bytes=output.nbytes,
        place=0 if place.kind == "arena" else 1,
        offset=place.offset,
        weights_bytes=sum(array.nbytes for _, array in layer.arrays),
        kernel=step.kernel.name,
        parts=list(layer.shared),
        functions=list(layer.functions),
        pieces=pieces,
        accelerators=dict(sorted(Counter(accelerators).items())),
    )


def _manifest(project: _Project, layers: Sequence[Layer]) -> Manifest:
    program, options = project.program, project.options
    network, prefix = program.network, options.prefix
    has_tests = project.vectors is not None
    weights = [f"{prefix}_weights.c"] if any(layer.arrays for layer in layers) else []
    return Manifest(
        prefix=prefix,
        network_digest=storage.digest(network),
        options=options.as_dict(),
        flavour=network.flavour,
        macs=sum(network.macs(op) for op in network.ops),
        arena_bytes=program.memory.arena_bytes,
        arena_bound_bytes=program.memory.bound_bytes,
        input_bytes=sum(tensor.nbytes for tensor in network.input_tensors()),
        output_bytes=sum(tensor.nbytes for tensor in network.output_tensors()),
        sources=[f"{prefix}.c", f"{prefix}_layers.c", *weights],
        trace_sources=[f"{prefix}_trace.c"],
        selftest_sources=[f"{prefix}_selftest.c", f"{prefix}_vectors.c"] if has_tests else [],
        selftest_main=f"{prefix}_selftest_main.c" if has_tests else None,
        steps=[_step_entry(program, layer) for layer in layers],
        aliases=dict(sorted(program.aliases.items())),
        buffers=_buffers(program),
        entry=f"{prefix}_run",
        schedule=dict(sorted(options.schedule.layers.items())),
        bands=_bands(program, options.schedule),
    )


def _buffers(program: Program) -> list[BufferEntry]:
    """What lies in the arena, rows that wait for the next band included."""
    tensors, stage = program.network.tensors, program.stage
    rolling = stage.rolling if stage is not None else {}

    def entry(name: str, block: str, nbytes: int, lifetime: tuple[int, int]) -> BufferEntry:
        offset = program.memory.offsets[block] if name in rolling else program.places[name].offset
        return BufferEntry(tensor=block, offset=offset, bytes=nbytes, first_step=lifetime[0], last_step=lifetime[1])

    found = []
    for name, lifetime in program.lifetimes.items():
        window = rolling.get(name)
        size = tensors[name].nbytes if window is None else window.capacity * row_bytes(tensors[name])
        found.append(entry(name, name, size, lifetime))
        if window is not None and window.spare:
            steps = [step.index for step in program.steps if step.calls]
            found.append(entry(name, kept(name), window.spare * row_bytes(tensors[name]), (steps[0], steps[-1])))
    return found


def _bands(program: Program, schedule: Schedule) -> BandsEntry | None:
    if schedule.bands is None or program.stage is None:
        return None
    in_bands = [step for step in program.steps if step.calls]
    return BandsEntry(
        first=schedule.bands.first,
        last=schedule.bands.last,
        rows=schedule.bands.rows,
        count=program.stage.count,
        recomputed_macs=sum(call.site.macs for step in in_bands for call in step.calls)
        - sum(step.site.macs for step in in_bands),
        copied_bytes=sum(
            copy.nbytes for step in in_bands for call in step.calls for copy in (*call.before, *call.after)
        ),
    )


def _check_vectors(vectors: Vectors | None, document: Manifest) -> None:
    if vectors is None:
        return
    if len(vectors.inputs) != len(vectors.outputs) or not vectors.inputs:
        raise UsageError(
            "self-test vectors do not pair up",
            got=f"{len(vectors.inputs)} inputs and {len(vectors.outputs)} outputs",
            expected="at least one sample, as many outputs as inputs",
        )
    for what, samples, size in (
        ("inputs", vectors.inputs, document.input_bytes),
        ("outputs", vectors.outputs, document.output_bytes),
    ):
        for index, sample in enumerate(samples):
            if len(sample) != size:
                raise UsageError(
                    f"the {what} of a self-test vector have the wrong size",
                    where=f"vector {index}",
                    got=f"{len(sample)} bytes",
                    expected=f"{size} bytes",
                )
