# SPDX-License-Identifier: Apache-2.0
"""The function of a layer that runs in bands of rows: it gets the number of the band and calls a function on its rows.

Bands whose calls differ by the same number of bytes from one to the next share a statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from plinio_deploy.codegen.emit import Emitter, shape_of
from plinio_deploy.codegen.kernel import Site
from plinio_deploy.codegen.lower import Call, Copy, Program, Step
from plinio_deploy.codegen.pointers import pointer


def body(program: Program, step: Step, functions: Mapping[Site, str]) -> str:
    """The statements.

    Args:
        program: that the step is of.
        step: the layer.
        functions: C names by the site that they execute.
    """
    assert program.stage is not None
    runs = _runs(step.calls)
    if len(runs) == 1 and len(runs[0]) == program.stage.count:
        return "\n".join(_statements(step, runs[0], functions))
    lines: list[str] = []
    for index, run in enumerate(runs):
        first, last = run[0].piece.band, run[-1].piece.band
        test = f"band == {first}" if first == last else f"band >= {first} && band <= {last}"
        lines += [f"{'} else ' if index else ''}if ({test}) {{", *_statements(step, run, functions)]
    return "\n".join([*lines, "}"])


def parameters(program: Program, step: Step, text: str) -> tuple[tuple[str, str], ...]:
    """Parameters of the function, each with what it is, out of those that its statements use."""
    network = program.network
    possible = [("int32_t band", f"0 to {step.calls[-1].piece.band}"), ("uint8_t *arena", "working memory")]
    for kind, prefix, tensors in (("in", "const ", network.input_tensors()), ("out", "", network.output_tensors())):
        possible += [
            (f"{prefix}{Emitter.ctype(tensor)} *{kind}{index}", shape_of(tensor))
            for index, tensor in enumerate(tensors)
        ]
    words = set(re.findall(r"\w+", text))
    return tuple((parameter, what) for parameter, what in possible if _name(parameter) in words)


def call(program: Program, step: Step, declared: Sequence[str], band: int | None) -> str:
    """A call of the function: of a band on raw buffers, or of the present one on typed pointers.

    Args:
        program: that the step is of.
        step: the layer.
        declared: its parameters.
        band: its number; ``None`` inside ``net_run``.
    """
    raw: dict[str, str] = {"band": str(band)}
    network = program.network
    for prefix, tensors in (("in", network.input_tensors()), ("out", network.output_tensors())):
        for index, tensor in enumerate(tensors):
            place = program.places[tensor.name]
            raw[f"{prefix}{index}"] = pointer(place, tensor, packed=True, const=prefix == "in")
    names = [_name(parameter) for parameter in declared]
    return f"{step.symbol}({', '.join(names if band is None else [raw.get(name, name) for name in names])});"


def _name(parameter: str) -> str:
    return parameter.replace("*", " ").split()[-1]


def _runs(calls: Sequence[Call]) -> list[list[Call]]:
    """Calls of neighbouring bands that one statement can make."""
    runs: list[list[Call]] = []
    for found in calls:
        if runs and _continues(runs[-1], found):
            runs[-1].append(found)
        else:
            runs.append([found])
    return runs


def _continues(run: Sequence[Call], found: Call) -> bool:
    last = run[-1]
    same = (last.site, last.before, last.after, last.piece.band + 1)
    if same != (found.site, found.before, found.after, found.piece.band):
        return False
    return len(run) == 1 or _steps(last, found) == _steps(run[0], run[1])


def _steps(first: Call, second: Call) -> list[int]:
    """Bytes from the places of one call to those of another."""
    return [after.offset - before.offset for before, after in zip(first.places, second.places, strict=True)]


def _statements(step: Step, run: Sequence[Call], functions: Mapping[Site, str]) -> list[str]:
    first = run[0]
    steps = _steps(first, run[1]) if len(run) > 1 else [0] * len(first.places)
    tensors = (*step.site.inputs, step.site.output)
    arguments = [
        pointer(place, tensor, packed=False, const=index < len(tensors) - 1, step=by, band=first.piece.band)
        for index, (place, tensor, by) in enumerate(zip(first.places, tensors, steps, strict=True))
    ]
    if step.scratch is not None:
        arguments.append(f"arena + {step.scratch}" if step.scratch else "arena")
    made = f"{functions[first.site]}({', '.join(arguments)});"
    return [*map(_copy, first.before), made, *map(_copy, first.after)]


def _copy(copy: Copy) -> str:
    return f"memcpy(arena + {copy.target}, arena + {copy.source}, {copy.nbytes});".replace("arena + 0,", "arena,")
