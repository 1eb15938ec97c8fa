# SPDX-License-Identifier: Apache-2.0
"""Measurements of the toy network, made up."""

from __future__ import annotations

from typing import Any

from plinio_deploy.measure import SOURCES
from tests.plinio_deploy.toy import toy


def measurement(target: str, instructions: int | None = 1000, differing: int = 0) -> dict[str, Any]:
    network = toy()
    layers = [
        {
            "name": op.name,
            "op": op.kind,
            "macs": network.macs(op),
            "instructions": None if instructions is None else 100 + index,
            "cycles": None,
            "w_bits": {"8": 1, "4": 2} if op.name == "stem" else {},
            "a_bits": 8,
            "tensor": op.output,
            "weights_bytes": 60 if op.name == "stem" else 0,
            "code_bytes": 100,
        }
        for index, op in enumerate(network.ops)
        if op.kind != "reshape"
    ]
    memory = {"arena_bytes": 240, "arena_bound_bytes": 240, "stack_peak_bytes": 80, "ram_bytes": 900}
    return {
        "schema": 1,
        "target": target,
        "runner": "host" if instructions is None else "qemu",
        "samples": 20,
        "differing_samples": differing,
        "differing_tensors": 0,
        "traced_samples": 2,
        "traced_tensors": 16,
        "accuracy": {"float": 0.98, "integer": 0.975},
        "macs": sum(layer["macs"] for layer in layers),
        "total": {"instructions": instructions, "cycles": None, "cycles_source": None},
        "layers": layers,
        "memory": {**memory, "flash_bytes": 3600, "weights_bytes": 116, "code_bytes": 900},
        "network_digest": "ab" * 32,
        "tools": {"gcc": "12.2.1", "qemu": "7.2.22"},
        "sources": dict(SOURCES, cycles="not counted"),
    }


def with_cycles(target: str, total: int, source: str = "rtl") -> dict[str, Any]:
    """A measurement with cycles, 1000 and up per layer."""
    document = measurement(target)
    document["total"] |= {"cycles": total, "cycles_source": source, "cycles_conditions": f"{target}, no waiting"}
    document["sources"]["cycles"] = f"counted somehow; {target}, no waiting"
    document["simulation"] = {"cycles": 5 * total, "cycles_per_second": 3_200_000}
    for index, layer in enumerate(document["layers"]):
        layer["cycles"] = 1000 + index
    return document


def plan() -> dict[str, Any]:
    return {
        "arena_bytes": 300,
        "arena_bound_bytes": 240,
        "steps": [{"layer": name, "op": "conv"} for name in ("a", "b", "c<d")],
        "buffers": [
            {"tensor": "first", "offset": 0, "bytes": 200, "first_step": 0, "last_step": 1},
            {"tensor": "tiny", "offset": 200, "bytes": 2, "first_step": 1, "last_step": 2},
            {"tensor": "x<y", "offset": 202, "bytes": 98, "first_step": 1, "last_step": 2},
        ],
    }
