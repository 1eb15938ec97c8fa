# SPDX-License-Identifier: Apache-2.0
"""``report.json``: everything the page shows, and nothing that it does not, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from plinio_deploy import __version__
from plinio_deploy.network import Conv, Linear, Network


def collect(
    *,
    network: Network,
    recipe: str,
    training: Mapping[str, Any],
    manifest: Mapping[str, Any],
    measurements: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Gather the report.

    Args:
        network: the integer network.
        recipe: what was trained, as named on the command line.
        training: facts of the train stage; empty if there was none.
        manifest: ``manifest.json`` of the generated code.
        measurements: one ``measurement.json`` per target, in the order to be shown; at least one.

    Returns:
        The document. ``measurement`` is the first target's, ``measurements`` holds all of them.
    """
    return {
        "schema": 1,
        "tool": {"name": "plinio-deploy", "version": __version__},
        "recipe": recipe,
        "network": _network(network, str(measurements[0]["network_digest"])),
        "training": dict(training),
        "measurement": dict(measurements[0]),
        "measurements": [dict(item) for item in measurements],
        "memory_plan": {
            "arena_bytes": manifest["arena_bytes"],
            "arena_bound_bytes": manifest["arena_bound_bytes"],
            "steps": [{"layer": step["layer"], "op": step["op"]} for step in manifest["steps"]],
            "buffers": [dict(buffer) for buffer in manifest["buffers"]],
            "bands": manifest["bands"],
        },
    }


def _network(network: Network, digest: str) -> dict[str, Any]:
    ops = []
    for op in network.ops:
        output = network.tensors[op.output]
        ops.append(
            {
                "name": op.name,
                "op": op_name(op),
                "output": output.name,
                "shape": list(output.shape),
                "a_bits": output.bits,
                "macs": network.macs(op),
                "parameters": int(op.weights.codes.size) if isinstance(op, Conv | Linear) else 0,
                "accelerators": dict(Counter(op.accelerators)) if isinstance(op, Conv | Linear) else {},
            }
        )
    return {
        "name": network.name,
        "digest": digest,
        "flavour": network.flavour,
        "inputs": {tensor.name: list(tensor.shape) for tensor in network.input_tensors()},
        "outputs": {tensor.name: list(tensor.shape) for tensor in network.output_tensors()},
        "macs": sum(network.macs(op) for op in network.ops),
        "ops": ops,
    }


def op_name(op: Any) -> str:
    """An op's kind as people call it: a conv with one input channel per group is ``depthwise``."""
    return "depthwise" if isinstance(op, Conv) and op.is_depthwise else str(op.kind)
