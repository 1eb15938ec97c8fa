# SPDX-License-Identifier: Apache-2.0
"""Layers as C: each step's function with what stands before it, and the statements that call it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from plinio_deploy.codegen import banded
from plinio_deploy.codegen.emit import Emitter, Helpers, shape_of
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.lower import Program, Step
from plinio_deploy.codegen.pack import Array
from plinio_deploy.codegen.pointers import pointer
from plinio_deploy.codegen.render import render
from plinio_deploy.network import Concat

_LOCAL = "net_lXX_symbol"
"""Stands for the symbol of a layer while its parts are compared with those of others."""


@dataclass(frozen=True)
class Layer:
    """One step as the templates see it.

    Attributes:
        step: the step.
        title: one line: op, geometry, MACs.
        parameters: ``(C type and name, what it is)`` of each.
        parts: functions of this layer alone, such as micro-kernels, that stand before it; may be empty.
        shared: functions that it calls and may share with other layers.
        functions: its own functions that it calls, one for each shape of a band.
        body: statements of the function.
        arrays: constant data and its C name.
        run_call: the call in ``net_run``.
        trace_calls: those in ``net_step``, one for each band.
    """

    step: Step
    title: str
    parameters: tuple[tuple[str, str], ...]
    parts: str
    shared: tuple[str, ...]
    functions: tuple[str, ...]
    body: str
    arrays: tuple[tuple[str, Array], ...]
    run_call: str
    trace_calls: tuple[str, ...]

    @property
    def signature(self) -> str:
        """Declaration of the function, without a semicolon."""
        return signature(self.step.symbol, self.parameters)


def signature(symbol: str, parameters: Sequence[tuple[str, str]]) -> str:
    """Declaration of a function, without a semicolon."""
    return f"void {symbol}({', '.join(parameter for parameter, _ in parameters)})"


@dataclass(frozen=True)
class _Function:
    """A kernel's function on one site.

    Attributes:
        parameters: as in `Layer`.
        parts: what stands before it.
        shared: parts that it calls.
        body: its statements.
    """

    parameters: tuple[tuple[str, str], ...]
    parts: str
    shared: tuple[str, ...]
    body: str


@dataclass
class Writer:
    """Writes the layers of a program.

    Attributes:
        program: the program.
        prefix: of all symbols.
        helpers: that the layers written so far use.
    """

    program: Program
    prefix: str
    helpers: Helpers = field(default_factory=Helpers)
    _owners: dict[str, str] = field(default_factory=dict)
    """The C name of each part that has been written, by its text."""

    def layer(self, step: Step) -> Layer:
        """One step; steps have to come in order."""
        if step.calls:
            return self._in_bands(step)
        site = step.site
        arrays = {array.suffix: array for array in step.kernel.arrays(site)}
        emitter = Emitter(self.prefix, step.symbol, self.helpers)
        function = self._function(step, site, emitter)
        return Layer(
            step=step,
            title=_title(step.site),
            parameters=function.parameters,
            parts=function.parts,
            shared=function.shared,
            functions=(),
            body=function.body,
            arrays=tuple((emitter.array(suffix), array) for suffix, array in arrays.items()),
            run_call=_call(self.program, step, packed=False),
            trace_calls=(_call(self.program, step, packed=True),),
        )

    def _in_bands(self, step: Step) -> Layer:
        """A function for each shape of a band, and one that calls them."""
        arrays: dict[str, Array] = {}
        texts: list[str] = []
        shared: dict[str, None] = {}
        functions: dict[Site, str] = {}
        for index, site in enumerate(step.sites):
            functions[site] = symbol = f"{step.symbol}_shape{index}"
            named = {
                array.suffix: _array_name(arrays, step.symbol, symbol, array) for array in step.kernel.arrays(site)
            }
            arrays |= {named[array.suffix]: array for array in step.kernel.arrays(site)}
            function = self._function(step, site, Emitter(self.prefix, symbol, self.helpers, named))
            shared |= dict.fromkeys(function.shared)
            texts += [text for text in [function.parts] if text]
            texts.append(f"static {signature(symbol, function.parameters)}\n{{\n{function.body}\n}}\n")
        body = banded.body(self.program, step, functions)
        parameters = banded.parameters(self.program, step, body)
        names = [parameter for parameter, _ in parameters]
        return Layer(
            step=step,
            title=f"{_title(step.site)}; in {len(step.calls)} bands of rows",
            parameters=parameters,
            parts="\n".join(texts).rstrip("\n"),
            shared=tuple(shared),
            functions=tuple(functions.values()),
            body=body,
            arrays=tuple(arrays.items()),
            run_call=banded.call(self.program, step, names, None),
            trace_calls=tuple(banded.call(self.program, step, names, call.piece.band) for call in step.calls),
        )

    def _function(self, step: Step, site: Site, emitter: Emitter) -> _Function:
        """Render a kernel on a site."""
        kernel = step.kernel
        assert kernel.template is not None
        inputs = ["in"] if len(site.inputs) == 1 else [f"in{index}" for index in range(len(site.inputs))]
        variables = {
            "e": emitter,
            "op": site.op,
            "inputs": site.inputs,
            "names": inputs,
            "output": site.output,
            **kernel.variables(site, emitter),
        }
        parts, shared, body = self._parts(emitter.symbol, kernel.template, kernel.parts, variables)
        parameters = [
            (f"const {Emitter.ctype(tensor)} *{name}", shape_of(tensor))
            for name, tensor in zip(inputs, site.inputs, strict=True)
        ]
        parameters.append((f"{Emitter.ctype(site.output)} *out", shape_of(site.output)))
        if step.scratch is not None:
            scratch = kernel.scratch_bytes(site)
            parameters.append(("uint8_t *scratch", f"{scratch} bytes"))
            # Bands of other shapes, such as those that meet padding, may need it all the same.
            body = body if scratch else f"(void)scratch;\n{body}"
        if kernel.shares:
            function, name, body = self._shared_body(
                emitter, body, [item for item, _ in parameters], kernel.arrays(site)
            )
            parts, shared = "\n\n".join(text for text in (parts, function) if text), (*shared, name)
        return _Function(tuple(parameters), parts, shared, body)

    def _parts(
        self, symbol: str, template: str, parts: str | None, variables: Mapping[str, object]
    ) -> tuple[str, tuple[str, ...], str]:
        """What stands before a function, the names of its parts, and its body: functions with equal parts share them.

        A part is what stands behind a line ``#part NAME``; it defines ``LOCAL_NAME``. Text before the first is not
        shared.
        """
        variables = {**variables, "local": _LOCAL}
        body = render(template, variables)
        own, *texts = re.split(r"^#part (\w+)\n", render(parts, variables) if parts else "", flags=re.MULTILINE)
        names_of: dict[str, str] = {}
        kept = [own] if own.strip() else []
        for name, text in zip(texts[::2], texts[1::2], strict=True):
            mine = f"{symbol}_{name}"
            owner = self._owners.setdefault(text, mine)
            names_of[f"{_LOCAL}_{name}"] = owner
            kept += [text] if owner == mine else []

        def named(text: str) -> str:
            text = re.sub(rf"{_LOCAL}_\w+", lambda found: names_of.get(found[0], found[0]), text)
            return text.replace(_LOCAL, symbol)

        return named("\n".join(kept)), tuple(names_of.values()), named(body)

    def _shared_body(
        self, emitter: Emitter, body: str, parameters: Sequence[str], arrays: Sequence[Array]
    ) -> tuple[str, str, str]:
        """Make a body a function that gets constant data as arguments.

        Returns:
            Its text, or nothing where an earlier function has the same; its name; the call that takes the body's place.
        """
        names = [emitter.array(array.suffix) for array in arrays]
        for name, array in zip(names, arrays, strict=True):
            body = re.sub(rf"\b{name}\b", f"data{array.suffix}", body)
        declared = [*parameters, *(f"const {array.ctype} *data{array.suffix}" for array in arrays)]
        text = f"static void {_LOCAL}_body({', '.join(declared)})\n{{\n{body}\n}}"
        mine = f"{emitter.symbol}_body"
        owner = self._owners.setdefault(text, mine)
        call = f"{owner}({', '.join([*(item.rpartition('*')[2] for item in parameters), *names])});"
        return text.replace(_LOCAL, emitter.symbol) if owner == mine else "", owner, call


def _array_name(known: Mapping[str, Array], symbol: str, own: str, array: Array) -> str:
    """The layer's name for an array, unless another shape's array of that name differs."""
    name = f"{symbol}{array.suffix}"
    same = known.get(name, array)
    return name if (same.ctype, same.values) == (array.ctype, array.values) else f"{own}{array.suffix}"


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
    site, places = step.site, program.places
    arguments = [pointer(places[tensor.name], tensor, packed=packed, const=True) for tensor in site.inputs]
    arguments.append(pointer(places[site.output.name], site.output, packed=packed, const=False))
    if step.scratch is not None:
        arguments.append(f"arena + {step.scratch}" if step.scratch else "arena")
    return f"{step.symbol}({', '.join(arguments)});"


def _turns(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Layers that take turns, all others alone."""
    group: list[Layer] = []
    for layer in layers:
        if group and not layer.step.calls:
            yield group
            group = []
        group.append(layer)
        if not layer.step.calls:
            yield group
            group = []
    if group:
        yield group


def run_statements(program: Program, layers: Sequence[Layer]) -> list[str]:
    """The statements of ``net_run``."""
    statements: list[str] = []
    for group in _turns(layers):
        calls = [layer.run_call for layer in group]
        if group[0].step.calls and program.stage is not None:
            calls = [f"for (int32_t band = 0; band < {program.stage.count}; band++) {{", *calls, "}"]
        statements += calls
    return statements


def trace_statements(layers: Sequence[Layer]) -> list[str]:
    """The statements of ``net_step``, one for each layer and band, in the order in which ``net_run`` gets to them."""
    statements: list[str] = []
    for group in _turns(layers):
        if not group[0].step.calls:
            statements += group[0].trace_calls
            continue
        keyed = [
            (call.piece.band, layer.step.index, text)
            for layer in group
            for call, text in zip(layer.step.calls, layer.trace_calls, strict=True)
        ]
        statements += [text for _, _, text in sorted(keyed)]
    return statements
