# SPDX-License-Identifier: Apache-2.0
"""Predictions against measurements that the fit never saw: single layers, and whole networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from plinio_deploy.console import Terminal
from plinio_deploy.network import Network
from plinio_deploy.pipeline.calibration import bench, networks
from plinio_deploy.pipeline.calibration.baselines import BASELINES
from plinio_deploy.pipeline.calibration.bench import Run
from plinio_deploy.pipeline.calibration.micro import Spec
from plinio_deploy.targets.calibration.fitting import errors, scaled
from plinio_deploy.targets.calibration.geometry import Geometry, of_op
from plinio_deploy.targets.calibration.prediction import layer, predict
from plinio_deploy.targets.luts import Baseline, Lut, NetworkErrors, Validation
from plinio_deploy.targets.schema import Target


def validate(lut: Lut, target: Target, terminal: Terminal, specs: Sequence[Spec], part: str) -> Validation:
    """Measure layers and networks anew and compare.

    Args:
        lut: the table.
        target: what to measure on.
        terminal: told what goes on.
        specs: layers, none of them in the fit.
        part: what they are called.
    """
    singles = bench.layer_networks(specs, "held")
    runs = bench.run_all(singles, target, terminal, f"{target.name} {part}")
    relative, weighted = [], []
    for network, run in zip(singles, runs, strict=True):
        for predicted, value, parts in _layers(lut, network, run):
            relative.append(predicted / value - 1)
            if parts[0].w_bits is not None:
                weighted.append((parts, value))
    whole = dict(networks.known()) | dict(networks.searched())
    ran = bench.run_all(list(whole.values()), target, terminal, f"{target.name} networks")
    totals = [_total(lut, run) for run in ran]
    by_network = {
        name: round(predict(lut, network).total / total - 1, 4)
        for (name, network), total in zip(whole.items(), totals, strict=True)
    }
    return Validation(
        layers=errors(relative),
        networks=NetworkErrors(max=max(abs(error) for error in by_network.values())),
        count=len(relative),
        by_network=by_network,
        baselines={name: _baseline(cost, weighted, list(whole.values()), totals) for name, cost in BASELINES.items()},
    )


def _layers(lut: Lut, network: Network, run: Run) -> list[tuple[float, float, tuple[Geometry, ...]]]:
    """Predicted and measured of each layer."""
    ops = {op.name: op for op in network.ops}
    found = []
    for counted in run.layers:
        predicted = layer(lut, network, ops[counted.name])
        value = counted.cycles if lut.unit == "cycles" else counted.instructions
        if predicted is not None and value:
            found.append((predicted, float(value), of_op(network, ops[counted.name])))
    return found


def _total(lut: Lut, run: Run) -> float:
    total = run.cycles if lut.unit == "cycles" else run.instructions
    assert total is not None
    return float(total)


def _baseline(
    cost: Callable[[Geometry], float],
    layers: Sequence[tuple[tuple[Geometry, ...], float]],
    whole: Sequence[Network],
    totals: Sequence[float],
) -> Baseline:
    """Errors of another cost, scaled at its best on these very layers, and again on these very networks."""
    values = [sum(cost(part) for part in parts) for parts, _ in layers]
    measured = [value for _, value in layers]
    factor = scaled(values, measured)
    sums = [sum(cost(part) for op in network.ops for part in of_op(network, op)) for network in whole]
    network_factor = scaled(sums, totals)
    relative = [factor * value / real - 1 for value, real in zip(values, measured, strict=True)]
    wholes = [abs(network_factor * value / real - 1) for value, real in zip(sums, totals, strict=True)]
    return Baseline(layers=errors(relative), networks=NetworkErrors(max=round(max(wholes), 4)))


def summary(validation: Validation) -> Mapping[str, str]:
    """What a person wants to know, in words."""
    networks_error = "" if validation.networks is None else f"{100 * validation.networks.max:.1f} %"
    return {
        "layers, median": f"{100 * validation.layers.median:.1f} %",
        "layers, 95th percentile": f"{100 * validation.layers.p95:.1f} %",
        "networks, largest": networks_error,
    }
