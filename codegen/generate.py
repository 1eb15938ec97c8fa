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
from plinio_deploy.codegen.emit import Emitter, Helpers, shape_of
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.lower import Program, Step, lower
from plinio_deploy.codegen.manifest import BufferEntry, Manifest, StepEntry
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.render import helpers, render
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Concat, Conv, Linear, Network, Tensor
from plinio_deploy.verify import verify

_LOCAL = "net_lXX_symbol"
"""Stands for the symbol of a layer while its parts are compared with those of others."""


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


@dataclass(frozen=True)
class Layer:
    """One step as the templates see it.

    Attributes:
        step: the step.
        title: one line: op, geometry, MACs.
        parameters: ``(C type and name, shape)`` of each pointer.
        parts: functions of this layer alone, such as micro-kernels, that stand before it; may be empty.
        shared: functions that it calls and may share with other layers.
        body: statements of the function.
        arrays: constant data and its C name.
        run_call, trace_call: the call in ``net_run`` and in ``net_step``.
    """

    step: Step
    title: str
    parameters: tuple[tuple[str, str], ...]
    parts: str
    shared: tuple[str, ...]
    body: str
    arrays: tuple[tuple[str, Array], ...]
    run_call: str
    trace_call: str

    @property
    def signature(self) -> str:
        """Declaration of the function, without a semicolon."""
        return f"void {self.step.symbol}({', '.join(parameter for parameter, _ in self.parameters)})"


@dataclass
class _Project:
    """All that the file templates use, the files made so far, and the parts of layers with the symbol they carry."""

    program: Program
    options: Options
    vectors: Vectors | None
    helpers: Helpers = field(default_factory=Helpers)
    files: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)

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
    layers = [_layer(project, step) for step in program.steps]
    document = _manifest(project, layers)
    _check_vectors(vectors, document)
    variables = _variables(project, layers, document)
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


def _variables(project: _Project, layers: Sequence[Layer], document: Manifest) -> dict[str, object]:
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
        "unused": _unused(network, layers),
        "has_weights": any(layer.arrays for layer in layers),
        "helpers": helpers(prefix, project.helpers),
        "vectors": project.vectors,
    }


def _unused(network: Network, layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Parameters of ``net_run`` and ``net_step`` that no call uses, such as an input that nobody reads."""
    run = ["arena", *(f"in{index}" for index in range(len(network.inputs)))]
    calls = {
        "run": " ".join(layer.run_call for layer in layers),
        "trace": " ".join(layer.trace_call for layer in layers),
    }
    words = {name: set(re.findall(r"\w+", text)) for name, text in calls.items()}
    return {
        "run": [name for name in run if name not in words["run"]],
        "trace": [name for name in ("arena", "input", "output") if name not in words["trace"]],
    }


def _offsets(tensors: Sequence[Tensor]) -> list[int]:
    return [sum(tensor.nbytes for tensor in tensors[:index]) for index in range(len(tensors))]


def _layer(project: _Project, step: Step) -> Layer:
    """Render one step."""
    site, kernel = step.site, step.kernel
    assert kernel.template is not None
    emitter = Emitter(project.options.prefix, step.symbol, project.helpers)
    inputs = ["in"] if len(site.inputs) == 1 else [f"in{index}" for index in range(len(site.inputs))]
    variables = {
        "e": emitter,
        "op": site.op,
        "inputs": site.inputs,
        "names": inputs,
        "output": site.output,
        **kernel.variables(site, emitter),
    }
    parts, shared, body = _parts(project, step, kernel.parts, variables)
    parameters = [
        (f"const {Emitter.ctype(tensor)} *{name}", shape_of(tensor))
        for name, tensor in zip(inputs, site.inputs, strict=True)
    ]
    parameters.append((f"{Emitter.ctype(site.output)} *out", shape_of(site.output)))
    if step.scratch is not None:
        parameters.append(("uint8_t *scratch", f"{kernel.scratch_bytes(site)} bytes"))
    arrays = tuple((emitter.array(array.suffix), array) for array in kernel.arrays(site))
    if kernel.shares:
        function, name, body = _shared_body(project, step, body, [parameter for parameter, _ in parameters], arrays)
        parts, shared = "\n\n".join(text for text in (parts, function) if text), (*shared, name)
    return Layer(
        step=step,
        title=_title(site),
        parameters=tuple(parameters),
        parts=parts,
        shared=shared,
        body=body,
        arrays=arrays,
        run_call=_call(project.program, step, packed=False),
        trace_call=_call(project.program, step, packed=True),
    )


def _parts(
    project: _Project, step: Step, template: str | None, variables: Mapping[str, object]
) -> tuple[str, tuple[str, ...], str]:
    """What stands before a layer's function, the names of its parts, and its body: layers with equal parts share them.

    A part is what stands behind a line ``#part NAME``; it defines ``LOCAL_NAME``. Text before the first is not shared.
    """
    variables = {**variables, "local": _LOCAL}
    body = render(step.kernel.template or "", variables)
    own, *texts = re.split(r"^#part (\w+)\n", render(template, variables) if template else "", flags=re.MULTILINE)
    names_of: dict[str, str] = {}
    kept = [own] if own.strip() else []
    for name, text in zip(texts[::2], texts[1::2], strict=True):
        owner = project.parts.setdefault(text, step.symbol)
        names_of[f"{_LOCAL}_{name}"] = f"{owner}_{name}"
        kept += [text] if owner == step.symbol else []

    def named(text: str) -> str:
        text = re.sub(rf"{_LOCAL}_\w+", lambda found: names_of.get(found[0], found[0]), text)
        return text.replace(_LOCAL, step.symbol)

    return named("\n".join(kept)), tuple(names_of.values()), named(body)


def _shared_body(
    project: _Project, step: Step, body: str, parameters: Sequence[str], arrays: Sequence[tuple[str, Array]]
) -> tuple[str, str, str]:
    """Make a body a function that gets constant data as arguments.

    Returns:
        Its text, or nothing where an earlier layer has the same; its name; the call that takes the body's place.
    """
    for name, array in arrays:
        body = re.sub(rf"\b{name}\b", f"data{array.suffix}", body)
    declared = [*parameters, *(f"const {array.ctype} *data{array.suffix}" for _, array in arrays)]
    text = f"static void {_LOCAL}_body({', '.join(declared)})\n{{\n{body}\n}}"
    owner = project.parts.setdefault(text, step.symbol)
    passed = [parameter.rpartition("*")[2] for parameter in parameters] + [name for name, _ in arrays]
    call = f"{owner}_body({', '.join(passed)});"
    return text.replace(_LOCAL, step.symbol) if owner == step.symbol else "", f"{owner}_body", call


def _title(site: Site) -> str:
    """``conv1: conv 3 x 3, stride 2 x 2, padding 1 1 1 1; 9216 MACs``."""
    op = site.op
    parts = []
    if site.producer is not None:
        return f"{op.name}: {op.kind} to {_title(site.producer)}"
    for name in ("kernel", "stride", "dilation"):
        height, width = getattr(op, name, (1, 1))
        if (height, width) != (1, 1) or (name == "kernel" and hasattr(op, name)):
            parts.append(f"{name} {height} x {width}")
    if any(getattr(op, "padding", ())):
        parts.append("padding " + " ".join(str(extent) for extent in getattr(op, "padding", ())))
    if getattr(op, "groups", 1) > 1:
        parts.append(f"{getattr(op, 'groups', 1)} groups")
    if isinstance(op, Concat):
        parts.append(f"axis {op.axis}")
    macs = f"; {site.macs} MACs" if site.macs else ""
    return f"{op.name}: {', '.join([op.kind, *parts])}{macs}"


def _call(program: Program, step: Step, *, packed: bool) -> str:
    """The call of a layer function, on typed pointers or (``packed``) on raw buffers."""
    site = step.site
    arguments = [_pointer(program, tensor, packed=packed, const=True) for tensor in site.inputs]
    arguments.append(_pointer(program, site.output, packed=packed, const=False))
    if step.scratch is not None:
        arguments.append(_at("arena", step.scratch))
    return f"{step.symbol}({', '.join(arguments)});"


def _at(base: str, offset: int) -> str:
    return f"{base} + {offset}" if offset else base


def _pointer(program: Program, tensor: Tensor, *, packed: bool, const: bool) -> str:
    place = program.places[tensor.name]
    if place.kind != "arena" and not packed:
        return f"{'in' if place.kind == 'input' else 'out'}{place.index}"
    raw = _at(place.kind, place.offset)
    if Emitter.ctype(tensor) == "uint8_t":
        return raw
    return f"({'const ' if const else ''}int8_t *){f'({raw})' if place.offset else raw}"


def _step_entry(program: Program, layer: Layer) -> StepEntry:
    step = layer.step
    site, output = step.site, step.site.output
    op = site.producer.op if site.producer else site.op
    bits, accelerators = (op.weights.bits, op.accelerators) if isinstance(op, Conv | Linear) else ((), ())
    place = program.places[output.name]
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
        buffers=[
            BufferEntry(
                tensor=name,
                offset=program.places[name].offset,
                bytes=network.tensors[name].nbytes,
                first_step=first,
                last_step=last,
            )
            for name, (first, last) in program.lifetimes.items()
        ],
        entry=f"{prefix}_run",
        schedule=dict(sorted(options.schedule.layers.items())),
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
