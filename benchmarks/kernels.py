# SPDX-License-Identifier: Apache-2.0
"""Instructions (and cycles, on RTL) per multiply-accumulate of the four reference networks on one target.

    python benchmarks/kernels.py --target cortex-m4 --json
    python benchmarks/kernels.py --target cortex-m4 --networks resnet8 --widths 8/8 4/8 --layers
    python benchmarks/kernels.py --target cortex-m4 --cmsis-nn PATH
    python benchmarks/kernels.py --target cortex-m4 --networks resnet8 --winograd scratch --adds-along
    python benchmarks/kernels.py --target cortex-m4 --networks mobilenetv1-025 --widths 8/8 --max-arena 27668

Weights and activations are random: counts depend on shapes, bit widths and the ranges that accumulators can reach, not
on what a network has learnt. Every row is also compared with the interpreter, tensor by tensor; a difference ends with
status 1.

With a checkout of CMSIS-NN (`cmsis_nn/compare.py`) that library is counted in the same run, by the same plugin, and its
figures stand beside each row and layer: its kernels for 8-bit weights and, beside 4 and 2 bits, those for 4 as well.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from cmsis_nn import beside as neighbours
from cmsis_nn import compare

from plinio_deploy import storage
from plinio_deploy.codegen import Manifest, Options, Schedule, generate, requested
from plinio_deploy.codegen.manifest import FILE
from plinio_deploy.codegen.requested import Requested, Winograd
from plinio_deploy.codegen.streaming import within
from plinio_deploy.errors import DoesNotFit, PlinioDeployError
from plinio_deploy.measure import input_bytes, reference
from plinio_deploy.network import Network
from plinio_deploy.pipeline.build import Project
from plinio_deploy.pipeline.calibration.bench import roomy
from plinio_deploy.pipeline.measure import steps_of
from plinio_deploy.targets import build as builder
from plinio_deploy.targets import registry
from plinio_deploy.targets.runners import for_target
from plinio_deploy.targets.runners.base import CycleCounts, RunRequest, count_request
from plinio_deploy.targets.schema import Target
from plinio_deploy.testdata import TestData

NETWORKS = ("resnet8", "ds-cnn", "mobilenetv1-025", "autoencoder")
PER_TENSOR = ("autoencoder",)
"""Networks of fully connected layers: their weights have a scale per tensor, as in the recipe."""
WIDTHS = ((8, 8), (4, 8), (2, 8))
"""Bits of weights and activations, of every network."""
RESNET8_WIDTHS = ((4, 4), (2, 2))
"""The same, of ResNet8 alone."""
MIXED = 0
"""As the width of weights: 2, 4 or 8 bits, drawn per channel."""
SEED = 0


@dataclass(frozen=True)
class Row:
    """One network on the target.

    Attributes:
        network: its name.
        w_bits, a_bits: widths of weights (0: several) and of activations inside; inputs and outputs have 8 bits.
        winograd: whether some convolution was executed by Winograd's method.
        instructions_per_mac: of one inference, over nominal multiply-accumulates; `None` where the runner cannot count.
        cycles_per_mac: likewise.
        cycles_source: `rtl`, `model`, `board`, or `None` without cycles.
        arena_bytes, arena_bound_bytes: of the generated project, scratch included; what no placement goes below.
        flash_bytes: of the whole firmware, the bench included.
        code_bytes, weights_bytes: of the network itself.
        fits: whether the firmware fits the target's memory; if not, it was counted in all that the emulator has, which
            changes nothing but where things lie.
        exact: whether every tensor of every layer equals the interpreter's.
        bands: layers that run in bands of rows to stay within `--max-arena`, multiply-accumulates that this repeats and
            bytes of rows that it copies; `None` where all run as a whole.
        layers: what each layer takes: name, kernel, MACs, elements that it writes, instructions, cycles; and those of
            CMSIS-NN for the same, if counted, with the width of the weights that its kernel takes (`cmsis_nn_kernel`).
        cmsis_nn_instructions_per_mac, cmsis_nn_cycles_per_mac: of CMSIS-NN on the same network at 8 bits, if counted.
        cmsis_nn_s4_instructions_per_mac, cmsis_nn_s4_cycles_per_mac: of its kernels for 4-bit weights, beside weights
            of 4 and 2 bits; layers that it has no such kernel for are those with `s8` as `cmsis_nn_kernel`.
        cmsis_nn_machine: which one QEMU played: another than the target's where that has too little memory.
    """

    network: str
    w_bits: int
    a_bits: int
    winograd: bool
    macs: int
    instructions: int | None
    cycles: int | None
    instructions_per_mac: float | None
    cycles_per_mac: float | None
    cycles_source: str | None
    arena_bytes: int
    arena_bound_bytes: int
    flash_bytes: int
    code_bytes: int
    weights_bytes: int
    fits: bool
    exact: bool
    bands: dict[str, str | int] | None
    layers: list[dict[str, str | int | None]]
    cmsis_nn_instructions_per_mac: float | None = None
    cmsis_nn_cycles_per_mac: float | None = None
    cmsis_nn_s4_instructions_per_mac: float | None = None
    cmsis_nn_s4_cycles_per_mac: float | None = None
    cmsis_nn_machine: str | None = None


def make_network(name: str, w_bits: int, a_bits: int) -> Network:
    """A reference network with random weights, calibrated on random samples, as integers."""
    import torch

    from plinio_deploy.integerize import integerize
    from plinio_deploy.quantization import LayerConfig, QuantConfig, quantize
    from plinio_deploy.quantization.config import LinearScales
    from plinio_deploy.recipes.models import DSCNN, Autoencoder, MobileNetV1, ResNet8

    models = {
        "resnet8": (ResNet8, (3, 32, 32)),
        "ds-cnn": (DSCNN, (1, 49, 10)),
        "mobilenetv1-025": (MobileNetV1, (3, 96, 96)),
        "autoencoder": (Autoencoder, (640,)),
    }
    make, shape = models[name]
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = make().eval()
    samples = torch.rand(4, *shape)
    scales: LinearScales = "tensor" if name in PER_TENSOR else "channel"
    config = QuantConfig(w_bits=w_bits or 8, a_bits=a_bits, linear_scales=scales)
    quantized = quantize(model, samples[:1], config)
    if w_bits == MIXED:
        rng, paths = np.random.default_rng(SEED), {node.name: node.path for node in quantized.nodes}
        layers = {
            paths[layer]: LayerConfig(tuple(int(bits) for bits in rng.choice((2, 4, 8), len(channels))), a_bits)
            for layer, channels in quantized.channels.outputs.items()
        }
        quantized = quantize(model, samples[:1], replace(config, layers=layers))
    quantized.calibrate([samples])
    return integerize(quantized.eval(), name.replace("-", "_"))


def cached_network(name: str, w_bits: int, a_bits: int, folder: Path | None) -> Network:
    """`make_network`, kept in a folder if there is one."""
    if folder is None:
        return make_network(name, w_bits, a_bits)
    place = folder / f"{name}_w{w_bits}a{a_bits}"
    if not (place / storage.STRUCTURE_FILE).exists():
        place.mkdir(parents=True, exist_ok=True)
        storage.save(make_network(name, w_bits, a_bits), place)
    return storage.load(place)


def schedule_of(
    network: Network, target: Target, where: Winograd | None, *, adds_along: bool, wider: bool = False
) -> Schedule:
    """The schedule that ``--winograd``, ``--adds-along`` and ``--wide`` ask for."""
    return requested.schedule(network, frozenset(target.features), Requested(where, adds_along, wider))


def measure(
    name: str,
    network: Network,
    widths: tuple[int, int],
    target: Target,
    *,
    trace: bool = True,
    schedule: Schedule | None = None,
    max_arena: int | None = None,
) -> Row:
    """Generate, build, run and compare one network; its first layers in bands of rows if the arena is above a limit."""
    options = Options(isa=target.features, schedule=schedule or Schedule())
    if max_arena is not None:
        options = replace(options, schedule=within(network, frozenset(options.isa), options.schedule, max_arena))
    artifact = generate(network, options)
    manifest = Manifest.parse(artifact.files[FILE])
    rng = np.random.default_rng(SEED)
    codes = tuple(
        rng.integers(tensor.qmin, tensor.qmax + 1, (1, *tensor.shape)).astype(np.int32)
        for tensor in network.input_tensors()
    )
    data = TestData(codes, np.zeros(1))
    with tempfile.TemporaryDirectory() as folder:
        project, fits = Project(artifact, manifest).inputs, True
        try:
            built = builder.build(artifact, project, target, Path(folder))
        except DoesNotFit:
            target, fits = roomy(target), False
            built = builder.build(artifact, project, target, Path(folder))
        count = None
        if target.runner != "host":
            count = count_request(built.image, [step.symbol for step in manifest.steps], prefix=manifest.prefix)
        runner, sample = for_target(target), input_bytes(network, data)
        outputs = runner.run(built.elf, RunRequest("outputs", sample, 1, count))
        traced = runner.run(built.elf, RunRequest("trace", sample, 1)).outputs if trace else b""
    expected = reference(network, data, steps_of(manifest), 1)
    exact = outputs.outputs == expected.outputs.tobytes() and (not trace or traced == expected.trace.tobytes())
    counted = outputs.instructions
    return Row(
        network=name,
        w_bits=widths[0],
        a_bits=widths[1],
        winograd=any("winograd" in step.kernel for step in manifest.steps),
        macs=manifest.macs,
        instructions=counted.total if counted else None,
        cycles=outputs.cycles.total if outputs.cycles else None,
        instructions_per_mac=round(counted.total / manifest.macs, 4) if counted else None,
        cycles_per_mac=round(outputs.cycles.total / manifest.macs, 4) if outputs.cycles else None,
        cycles_source=outputs.cycles.source if outputs.cycles else None,
        arena_bytes=manifest.arena_bytes,
        arena_bound_bytes=manifest.arena_bound_bytes,
        flash_bytes=built.image.flash_bytes,
        code_bytes=built.network_code_bytes,
        weights_bytes=built.network_constant_bytes,
        fits=fits,
        exact=exact,
        bands=None if manifest.bands is None else manifest.bands.model_dump(),
        layers=_layers(network, manifest, counted.by_symbol if counted else {}, outputs.cycles),
    )


def _layers(
    network: Network, manifest: Manifest, instructions: dict[str, int] | object, cycles: CycleCounts | None
) -> list[dict[str, str | int | None]]:
    counts = instructions if isinstance(instructions, dict) else {}
    taken = cycles.by_symbol if cycles is not None else {}
    return [
        {
            "name": step.layer,
            "kernel": step.kernel,
            "macs": step.macs,
            "elements": math.prod(network.tensors[step.tensor].shape),
            "instructions": counts.get(step.symbol),
            "cycles": taken.get(step.symbol),
        }
        for step in manifest.steps
    ]


def beside(row: Row, network: Network, other: compare.Comparison | None) -> Row:
    """A row with CMSIS-NN's figures for its network, and for each of its layers."""
    if other is None:
        return row
    s8, s4, narrow = other.s8[network.name], other.s4[network.name], row.w_bits in {2, 4}
    return replace(
        row,
        layers=neighbours.by_layer(network, row.layers, s4 if narrow else s8, narrow=narrow),
        cmsis_nn_instructions_per_mac=s8.instructions_per_mac,
        cmsis_nn_cycles_per_mac=s8.cycles_per_mac,
        cmsis_nn_s4_instructions_per_mac=s4.instructions_per_mac if narrow else None,
        cmsis_nn_s4_cycles_per_mac=s4.cycles_per_mac if narrow else None,
        cmsis_nn_machine=other.machine,
    )


def _widths(text: str) -> tuple[int, int]:
    weights, activations = (MIXED if part == "mixed" else int(part) for part in text.split("/"))
    return weights, activations


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if every tensor was as it ought to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--json", action="store_true", help="print a list of rows")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument(
        "--widths", nargs="+", type=_widths, metavar="W/A", help="bits of weights, or mixed, and of activations"
    )
    parser.add_argument("--cache", type=Path, help="folder in which the integer networks are kept")
    parser.add_argument("--no-trace", action="store_true", help="compare outputs only: half the time on slow targets")
    parser.add_argument("--layers", action="store_true", help="print every layer")
    parser.add_argument(
        "--winograd",
        nargs="?",
        const="flash",
        choices=("flash", "scratch"),
        help="Winograd's method where it is faster: weights transformed in flash, or at run time in scratch",
    )
    parser.add_argument("--adds-along", action="store_true", help="adds along with the convolution before them")
    parser.add_argument("--wide", action="store_true", help="8-bit weights in half as much flash again where faster")
    parser.add_argument("--cmsis-nn", type=Path, metavar="PATH", help="a checkout of CMSIS-NN, to count it as well")
    parser.add_argument(
        "--max-arena", type=int, metavar="BYTES", help="run first layers in bands of rows where the arena is above this"
    )
    options = parser.parse_args(arguments)
    target = registry.load(options.target)
    rows: list[Row] = []
    other = compare.measure(options.cmsis_nn, target.name) if options.cmsis_nn else None
    if other and not options.json:
        print(f"CMSIS-NN on QEMU's {other.machine}, with all of its memory; {other.conditions}")
    for name in options.networks:
        chosen = options.widths or (*WIDTHS, *(RESNET8_WIDTHS if name == "resnet8" else ()))
        for widths in chosen:
            network = cached_network(name, widths[0], widths[1], options.cache)
            schedule = schedule_of(network, target, options.winograd, adds_along=options.adds_along, wider=options.wide)
            trace, limit = not options.no_trace, options.max_arena
            row = measure(name, network, widths, target, trace=trace, schedule=schedule, max_arena=limit)
            rows.append(beside(row, network, other))
            if not options.json:
                show(rows[-1], layers=options.layers)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    return 0 if all(row.exact for row in rows) else 1


def show(row: Row, *, layers: bool) -> None:
    """One line, and one per layer if asked for."""

    def number(value: float | None, per: int) -> str:
        return "       -" if value is None else f"{value / per:8.3f}"

    def library(s8: float | None, s4: float | None) -> str:
        return "" if s8 is None else f" (CMSIS-NN {s8:.3f}{'' if s4 is None else f', s4 {s4:.3f}'})"

    other = (
        library(row.cmsis_nn_instructions_per_mac, row.cmsis_nn_s4_instructions_per_mac),
        library(row.cmsis_nn_cycles_per_mac, row.cmsis_nn_s4_cycles_per_mac),
    )
    print(
        f"{row.network:16} w{row.w_bits}a{row.a_bits}  instr/MAC {number(row.instructions, row.macs)}{other[0]}"
        f"  cycles/MAC {number(row.cycles, row.macs)}{other[1]}  arena {row.arena_bytes} ({row.arena_bound_bytes})"
        f"  flash {row.flash_bytes}  code {row.code_bytes}  weights {row.weights_bytes}"
        f"  {'exact' if row.exact else 'WRONG'}"
    )
    if row.bands is not None:
        print("    {count} bands of {rows} rows from {first} to {last}".format(**row.bands), end=": ")
        print("{recomputed_macs} MACs repeated, {copied_bytes} bytes copied".format(**row.bands))
    for layer in row.layers if layers else ():
        _show_layer(layer)


def _show_layer(layer: dict[str, str | int | None]) -> None:
    """Counts in all and per multiply-accumulate, or element written where there are none; CMSIS-NN's in brackets."""
    macs = int(layer["macs"] or 0)
    per, unit = (macs, "MAC") if macs else (int(layer["elements"] or 1), "element")
    line = f"    {layer['name']:28} {layer['kernel']:22} {per:9} x {unit:7}"
    for key in ("instructions", "cycles"):
        value, theirs = layer[key], layer.get(f"cmsis_nn_{key}")
        line += f" {value or 0:10} {int(value) / per:8.3f}" if value is not None else f" {'-':>10} {'-':>8}"
        if theirs is not None:
            line += f" ({layer['cmsis_nn_kernel']} {int(theirs) / per:8.3f})"
    print(line)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PlinioDeployError as error:
        sys.exit(str(error))
