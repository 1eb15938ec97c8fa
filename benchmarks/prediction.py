# SPDX-License-Identifier: Apache-2.0
"""What the cost table of a target says about trained networks, against a measurement.

python benchmarks/prediction.py RUN [RUN ...] --target cortex-m4    (folders that `plinio-deploy run` left)

Prints, per network and target, cycles (or instructions, as the table counts) of one inference on random codes, the
prediction, and how far it is off; `--layers` does so for each layer. Kernels are the default ones, memory is that of
the emulator: a schedule that a limit led to is not looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from plinio_deploy import storage
from plinio_deploy.network import Network
from plinio_deploy.pipeline.calibration import bench
from plinio_deploy.targets import luts, registry
from plinio_deploy.targets.calibration.prediction import predict


def rows(network: Network, target: str) -> Iterator[tuple[str, float, float]]:
    """Name, measured and predicted: of the whole first, then of each layer that runs code.

    Raises:
        UsageError: the target has no table, or the table no row for a layer.
        ToolMissing, BuildFailed, DeviceError: see `plinio_deploy.targets`.
    """
    lut = luts.load(target)
    run = bench.run(network, bench.roomy(registry.load(target)))
    in_cycles = lut.unit == "cycles"
    total = run.cycles if in_cycles else run.instructions
    assert total is not None, "a target with a table counts what the table counts"
    found = predict(lut, network)
    yield network.name, float(total), found.total
    for layer in run.layers:
        value = layer.cycles if in_cycles else layer.instructions
        if layer.name in found.layers and value:
            yield f"  {layer.name}", float(value), found.layers[layer.name]


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, or of integer networks")
    parser.add_argument("--target", nargs="+", default=["cortex-m4"])
    parser.add_argument("--layers", action="store_true", help="each layer, too")
    given = parser.parse_args()
    for folder in given.runs:
        integers = folder / "integerize"
        network = storage.load(integers if integers.is_dir() else folder)
        for target in given.target:
            for name, measured, predicted in rows(network, target):
                if given.layers or name == network.name:
                    off = 100 * (predicted / measured - 1)
                    print(
                        f"{target:16} {name:24} measured {measured:12,.0f}  predicted {predicted:12,.0f}  {off:+.1f} %"
                    )


if __name__ == "__main__":
    main()
