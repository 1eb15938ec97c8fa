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
        "instructions": _instructions(measurements),
        "flash": svg.stacked_bars(flash, "bytes of flash"),
        "ram": svg.stacked_bars(ram, "bytes of RAM"),
        "loss": svg.curve(losses, "Training loss per epoch") if len(losses) > 1 else "",
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        measurements=measurements,
        exact=all(m["differing_samples"] == 0 and m["differing_tensors"] == 0 for m in measurements),
        counted=_counted(measurements),
        timed=any(m["total"]["cycles"] is not None for m in measurements),
        layers=_layers(report),
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


def _instructions(measurements: Sequence[Mapping[str, Any]]) -> str:
    counted = _counted(measurements)
    if not counted:
        return ""
    groups = [str(layer["name"]) for layer in counted[0]["layers"]]
    values = [[layer["instructions"] for layer in m["layers"]] for m in counted]
    return svg.grouped_bars(svg.Bars(groups, [m["target"] for m in counted], values, "instructions"))


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
    ops = {op["name"]: op for op in report["network"]["ops"]}
    rows = []
    for index, layer in enumerate(report["measurement"]["layers"]):
        op = ops.get(layer["name"], {})
        per_target = [m["layers"][index]["instructions"] for m in _counted(report["measurements"])]
        rows.append(
            {**layer, "kind": op.get("op", layer["op"]), "shape": op.get("shape", []), "per_target": per_target}
        )
    return rows
