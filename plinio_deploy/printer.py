# SPDX-License-Identifier: Apache-2.0
"""The printed form of an integer network: for reading, for diffs, for tests; it parses back.

One line per op, tensors where they are made::

    network toy: hi32
    input x: u8[8, 8, 1] scale=0.0039 zero=0
    y: u4[4, 4, 5] scale=0.1 zero=0 = conv stem(x) weights=weights(codes=array("stem.weights.codes"), bits=...) ...
    output y

Arrays are printed by name; `parse` takes them from a mapping, such as `storage.to_artifact` makes. What follows a
tensor's op is a list of Python keyword arguments, read with `ast` and never evaluated.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from plinio_deploy.errors import InvalidNetwork
from plinio_deploy.network import OP_TYPES, Network, Op, Tensor, op_inputs, runs_of
from plinio_deploy.storage import VARIANT_NAMES, VARIANTS, stated_fields
from plinio_deploy.verify import verify

_TENSOR = (
    r"(?P<tensor>\w+): (?P<sign>[us])(?P<bits>\d)\[(?P<shape>[\d, ]+)\] scale=(?P<scale>[^ ]+) zero=(?P<zero>-?\d+)"
)
_HEADER_LINE = re.compile(r"network (?P<name>\w+): (?P<flavour>\w+)\Z")
_INPUT_LINE = re.compile(rf"input {_TENSOR}\Z")
_OP_LINE = re.compile(rf"{_TENSOR} = (?P<kind>\w+) (?P<name>\w+)\((?P<operands>[\w, ]*)\)(?P<rest>.*)\Z")
_OUTPUT_LINE = re.compile(r"output (?P<names>[\w, ]+)\Z")
_OPS_BY_KIND: dict[str, type[Op]] = {op.kind: op for op in OP_TYPES}
_OPERANDS = ("input", "inputs")
_PLACED = ("name", "output", *_OPERANDS)


def to_text(network: Network) -> str:
    """The printed form, one line per op, ending in a newline."""
    lines = [f"network {network.name}: {network.flavour}"]
    lines += [f"input {_tensor_text(tensor)}" for tensor in network.input_tensors()]
    for op in network.ops:
        fields = [name for name in stated_fields(op) if name not in _PLACED]
        attributes = "".join(f" {name}={_value_text(getattr(op, name), f'{op.name}.{name}')}" for name in fields)
        operands = ", ".join(op_inputs(op))
        lines.append(f"{_tensor_text(network.tensors[op.output])} = {op.kind} {op.name}({operands}){attributes}")
    lines.append(f"output {', '.join(network.outputs)}")
    return "\n".join(lines) + "\n"


def parse(text: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Network:
    """Read the printed form.

    Args:
        text: as `to_text` makes it; empty lines and lines that start with ``#`` are passed over.
        arrays: the arrays by their printed names.

    Raises:
        InvalidNetwork: a line does not parse (its number is named) or the network breaks a rule of the grammar.
    """
    header: re.Match[str] | None = None
    inputs: list[str] = []
    outputs: tuple[str, ...] = ()
    tensors: dict[str, Tensor] = {}
    ops: list[Op] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if header is None:
                header = _match(_HEADER_LINE, line, "network NAME: FLAVOUR")
            elif line.startswith("input "):
                tensor = _tensor(_match(_INPUT_LINE, line, "input NAME: u8[H, W, C] scale=S zero=Z"))
                tensors[tensor.name] = tensor
                inputs.append(tensor.name)
            elif line.startswith("output "):
                outputs = tuple(_match(_OUTPUT_LINE, line, "output NAME, ...")["names"].split(", "))
            else:
                tensor, op = _op(_match(_OP_LINE, line, "TENSOR = OP NAME(INPUTS) ATTRIBUTES"), arrays)
                tensors[tensor.name] = tensor
                ops.append(op)
        except (ValueError, KeyError, TypeError, SyntaxError) as error:
            raise InvalidNetwork(
                "a line does not parse", where=f"line {number}", got=f"{line[:80]} ({error})"
            ) from error
    if header is None:
        raise InvalidNetwork("the text is empty", expected="network NAME: FLAVOUR")
    flavour: Any = header["flavour"]
    return verify(Network(header["name"], flavour, tuple(inputs), outputs, tensors, tuple(ops)))


def _match(pattern: re.Pattern[str], line: str, form: str) -> re.Match[str]:
    match = pattern.match(line)
    if match is None:
        raise ValueError(f"expected {form}")
    return match


def _tensor_text(tensor: Tensor) -> str:
    kind = f"{'s' if tensor.signed else 'u'}{tensor.bits}"
    shape = ", ".join(map(str, tensor.shape))
    return f"{tensor.name}: {kind}[{shape}] scale={tensor.scale!r} zero={tensor.zero_point}"


def _value_text(value: Any, path: str) -> str:
    if isinstance(value, np.ndarray):
        return f'array("{path}")'
    if type(value) in VARIANT_NAMES:
        fields = ", ".join(
            f"{field.name}={_value_text(getattr(value, field.name), f'{path}.{field.name}')}"
            for field in dataclasses.fields(value)
        )
        return f"{VARIANT_NAMES[type(value)]}({fields})"
    if isinstance(value, tuple) and len(value) > 4:
        return f"runs({', '.join(repr((item, count)) for item, _, count in runs_of(value))})"
    return repr(value)


def _tensor(match: re.Match[str]) -> Tensor:
    shape = tuple(int(size) for size in match["shape"].split(","))
    return Tensor(
        match["tensor"], shape, int(match["bits"]), match["sign"] == "s", float(match["scale"]), int(match["zero"])
    )


def _op(match: re.Match[str], arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Tensor, Op]:
    tensor = _tensor(match)
    kind = _OPS_BY_KIND[match["kind"]]
    operands = tuple(match["operands"].split(", "))
    fields: dict[str, Any] = {"name": match["name"], "output": tensor.name}
    if "inputs" in {field.name for field in dataclasses.fields(kind)}:
        fields["inputs"] = operands
    else:
        (fields["input"],) = operands
    call = ast.parse(f"f({_with_commas(match['rest'])})", mode="eval").body
    assert isinstance(call, ast.Call)
    for keyword in call.keywords:
        if keyword.arg is None:
            raise ValueError("expected NAME=VALUE")
        fields[keyword.arg] = _value(keyword.value, arrays)
    return tensor, kind(**fields)


def _with_commas(attributes: str) -> str:
    """`` a=1 b=(2, 3)`` to ``a=1, b=(2, 3)``: a blank before ``name=`` outside brackets separates attributes."""
    pieces: list[str] = []
    depth = 0
    for character in attributes.strip():
        depth += (character in "([") - (character in ")]")
        pieces.append("," if character == " " and depth == 0 else character)
    return "".join(pieces)


def _value(node: ast.expr, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "array":
            return arrays[ast.literal_eval(node.args[0])]
        if node.func.id == "runs":
            runs = [ast.literal_eval(argument) for argument in node.args]
            return tuple(value for value, count in runs for _ in range(count))
        fields = {str(keyword.arg): _value(keyword.value, arrays) for keyword in node.keywords}
        return VARIANTS[node.func.id](**fields)
    return ast.literal_eval(node)
