# SPDX-License-Identifier: Apache-2.0
"""``report.html``: one page that needs nothing but itself, drawn from ``report.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from plinio_deploy.report import svg


def render(report: Mapping[str, Any]) -> str:
    """The page.

    Args:
        report: the document of `plinio_deploy.report.content.collect`.
    """
    environment = Environment(
        loader=PackageLoader("plinio_deploy.report", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=_number, ratio=_ratio, percent=_percent)
    measurements: Sequence[Mapping[str, Any]] = report["measurements"]
    flash, ram = _sizes(measurements)
    losses = [float(entry["loss"]) for entry in report["training"].get("history", []) if "loss" in entry]
    drawings = {
        "memory": svg.memory_map(report["memory_plan"]),
        "instructions": _layer_bars(report, _counted(measurements), "instructions"),
        "flash": svg.stacked_bars(flash, "bytes of flash"),
        "ram": svg.stacked_bars(ram, "bytes of RAM"),
        "loss": svg.curve(losses, "Training loss per epoch") if len(losses) > 1 else "",
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        measurements=measurements,
        exact=all(m["differing_samples"] == 0 and m["differing_tensors"] == 0 for m in measurements),
        counted=_counted(measurements),
        timed=_timed(measurements),
        cycles=_cycles(report),
        layers=_layers(report),
        assigned=any(op.get("accelerators") for op in report["network"]["ops"]),
        drawings={name: Markup(text) for name, text in drawings.items()},  # noqa: S704 (svg escapes every text)
        flash_parts=[name for name, _ in flash[0][1]],
        ram_parts=[name for name, _ in ram[0][1]],
    )


def _number(value: float | None) -> str:
    return "\u2013" if value is None else svg.number(value)


def _ratio(value: float | None, by: float | None) -> str:
    return "\u2013" if value is None or not by else f"{value / by:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}\u202f%"


def _counted(measurements: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The targets whose instructions were counted."""
    return [m for m in measurements if m["total"]["instructions"] is not None]


def _timed(measurements: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The targets whose cycles are known."""
    return [m for m in measurements if m["total"]["cycles"] is not None]


def _names(report: Mapping[str, Any], measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Layers that execute code on any of some targets, in the network's order.

    They need not be the same on all: a schedule may let an add execute the convolution before it.
    """
    order = {op["name"]: index for index, op in enumerate(report["network"]["ops"])}
    names = dict.fromkeys(str(layer["name"]) for m in measurements for layer in m["layers"])
    return sorted(names, key=lambda name: order.get(name, len(order)))


def _of_layers(measurement: Mapping[str, Any], key: str, names: Sequence[str]) -> list[float | None]:
    """A figure of each named layer; ``None`` where the target does not execute it by itself."""
    known = {layer["name"]: layer[key] for layer in measurement["layers"]}
    return [known.get(name) for name in names]


def _layer_bars(report: Mapping[str, Any], measurements: Sequence[Mapping[str, Any]], key: str) -> str:
    """A group of bars per layer, a bar per target; nothing where no target has the figure."""
    if not measurements:
        return ""
    groups = _names(report, measurements)
    values = [_of_layers(m, key, groups) for m in measurements]
    return svg.grouped_bars(svg.Bars(groups, [m["target"] for m in measurements], values, key))


def _cycles(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One drawing per source of cycles: exact ones and those of a model never share an axis."""
    timed = _timed(report["measurements"])
    drawings = []
    for source in dict.fromkeys(m["total"]["cycles_source"] for m in timed):
        same = [m for m in timed if m["total"]["cycles_source"] == source]
        drawing = Markup(_layer_bars(report, same, "cycles"))  # noqa: S704 (svg escapes every text)
        drawings.append({"source": source, "measurements": same, "drawing": drawing})
    return drawings


Rows = list[tuple[str, list[tuple[str, float]]]]


def _sizes(measurements: Sequence[Mapping[str, Any]]) -> tuple[Rows, Rows]:
    """Parts of flash and of RAM per target; what the network does not use is start-up code and the test bench."""
    flash: Rows = []
    ram: Rows = []
    for item in measurements:
        memory = item["memory"]
        weights, code = memory["weights_bytes"] or 0, memory["code_bytes"] or 0
        arena, stack = memory["arena_bytes"] or 0, memory["stack_peak_bytes"] or 0
        flash_rest = max(0, (memory["flash_bytes"] or 0) - weights - code)
        ram_rest = max(0, (memory["ram_bytes"] or 0) - arena - stack)
        flash.append(
            (item["target"], [("weights", weights), ("network code", code), ("start-up and bench", flash_rest)])
        )
        ram.append((item["target"], [("arena", arena), ("stack peak", stack), ("buffers and bench", ram_rest)]))
    return flash, ram


def _layers(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table: one per layer that executes code, with what every target measured for it."""
    measurements = report["measurements"]
    names = _names(report, measurements)
    instructions = [_of_layers(m, "instructions", names) for m in _counted(measurements)]
    cycles = [_of_layers(m, "cycles", names) for m in _timed(measurements)]
    first = {layer["name"]: layer for m in reversed(measurements) for layer in m["layers"]}
    ops = {op["name"]: op for op in report["network"]["ops"]}
    rows = []
    for index, name in enumerate(names):
        layer, op = first[name], ops.get(name, {})
        shown = {key: op.get(key, default) for key, default in (("shape", []), ("accelerators", {}))}
        shown["kind"] = op.get("op", layer["op"])
        shown["macs"] = op.get("macs", layer["macs"])  # its own, without those of a layer that it executes along
        shown["instructions_of"] = [figures[index] for figures in instructions]
        shown["cycles_of"] = [figures[index] for figures in cycles]
        rows.append({**layer, **shown})
    return rows
