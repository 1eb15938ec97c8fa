# SPDX-License-Identifier: Apache-2.0
"""CMSIS-NN under our counters: instructions and modelled cycles per multiply-accumulate of the four reference networks.

    python benchmarks/cmsis_nn/compare.py --cmsis-nn PATH [--target cortex-m4] [--json]

PATH is a checkout of github.com/ARM-software/CMSIS-NN; without it, the pinned commit is cloned into a temporary folder.
Nothing of it is part of this project. Every layer goes through the library's public functions with random data, once
with weights of 8 bits and, where it has kernels for them, once with weights of 4: counts depend on shapes alone. The
figures stand beside those of `benchmarks/kernels.py`, and check the timing model: boards that ran CMSIS-NN (MLPerf Tiny
v1.1, Cortex-M4 at 120 MHz) imply 1.2 to 1.3 cycles per instruction.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise
from pathlib import Path

from plinio_deploy.errors import BuildFailed, PlinioDeployError, UsageError
from plinio_deploy.pipeline.calibration.bench import roomy
from plinio_deploy.targets import registry, toolchains
from plinio_deploy.targets.runners import functions
from plinio_deploy.targets.schema import Qemu, Target

REPOSITORY = "https://github.com/ARM-software/CMSIS-NN"
COMMIT = "99f736a6"
BENCH = Path(__file__).resolve().parent / "bench.c"
FOLDERS = (
    *("BasicMathFunctions", "ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions"),
    *("PoolingFunctions", "TransposeFunctions"),
)
UNUSED = ("_f16", "_f32")
"""Ends of the names of sources for other types."""
NO_S4 = frozenset({"OP_POOL", "OP_ADD"})
"""What has no weights, and so no kernel for 4-bit ones: the one for 8 bits serves there."""
STACK = 8192
"""Bytes that the linker leaves at least."""

FLAGS = ("-Ofast", "-ffunction-sections", "-fdata-sections", "-fno-strict-aliasing", "-w")


@dataclass(frozen=True)
class Layer:
    """A layer's shapes, in the order of `layer_t`."""

    op: str
    in_h: int
    in_w: int
    in_c: int
    kernel_h: int
    kernel_w: int
    stride: int
    pad_h: int
    pad_w: int
    out_h: int
    out_w: int
    out_c: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates; none for pooling and sums."""
        return self.out_h * self.out_w * self.weights

    @property
    def weights(self) -> int:
        """Number of them."""
        if self.op in {"OP_POOL", "OP_ADD"}:
            return 0
        return self.kernel_h * self.kernel_w * self.out_c * (1 if self.op == "OP_DEPTHWISE" else self.in_c)


def _window(op: str, size: tuple[int, int, int], kernel: tuple[int, int], stride: int, channels: int) -> Layer:
    """A convolution with TensorFlow's "same" padding, as the reference models have it."""
    height, width, channels_in = size
    out_h, out_w = -(-height // stride), -(-width // stride)
    pad_h = max(0, (out_h - 1) * stride + kernel[0] - height) // 2
    pad_w = max(0, (out_w - 1) * stride + kernel[1] - width) // 2
    return Layer(op, height, width, channels_in, *kernel, stride, pad_h, pad_w, out_h, out_w, channels)


def _linear(inputs: int, outputs: int) -> Layer:
    return Layer("OP_LINEAR", 1, 1, inputs, 1, 1, 1, 0, 0, 1, 1, outputs)


def _tail(size: int, other: int, channels: int, classes: int) -> list[Layer]:
    return [Layer("OP_POOL", size, other, channels, size, other, 1, 0, 0, 1, 1, channels), _linear(channels, classes)]


def networks() -> dict[str, list[Layer]]:
    """The four networks of MLPerf Tiny, layer by layer."""
    resnet = [_window("OP_CONV", (32, 32, 3), (3, 3), 1, 16)]
    for size, before, after, stride in ((32, 16, 16, 1), (32, 16, 32, 2), (16, 32, 64, 2)):
        half = size // stride
        resnet += [_window("OP_CONV", (size, size, before), (3, 3), stride, after)]
        resnet += [_window("OP_CONV", (half, half, after), (3, 3), 1, after)]
        resnet += [_window("OP_CONV", (size, size, before), (1, 1), stride, after)] if stride > 1 else []
        resnet += [Layer("OP_ADD", half, half, after, 1, 1, 1, 0, 0, half, half, after)]
    keywords = [_window("OP_CONV", (49, 10, 1), (10, 4), 2, 64)]
    keywords += [
        layer
        for _ in range(4)
        for layer in (
            _window("OP_DEPTHWISE", (25, 5, 64), (3, 3), 1, 64),
            _window("OP_CONV", (25, 5, 64), (1, 1), 1, 64),
        )
    ]
    wake = [_window("OP_CONV", (96, 96, 3), (3, 3), 2, 8)]
    size, channels = 48, 8
    for after, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2), (256, 1)):
        wake += [_window("OP_DEPTHWISE", (size, size, channels), (3, 3), stride, channels)]
        size //= stride
        wake += [_window("OP_CONV", (size, size, channels), (1, 1), 1, after)]
        channels = after
    sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    return {
        "resnet8": [*resnet, *_tail(8, 8, 64, 10)],
        "ds_cnn": [*keywords, *_tail(25, 5, 64, 12)],
        "mobilenetv1_025": [*wake, *_tail(3, 3, 256, 2)],
        "autoencoder": [_linear(before, after) for before, after in pairwise(sizes)],
    }


def header(layers: dict[str, list[Layer]]) -> str:
    """The shapes as C."""
    every = [layer for network in layers.values() for layer in network]
    activation = max(max(one.in_h * one.in_w * one.in_c, one.out_h * one.out_w * one.out_c) for one in every)
    names = list(Layer.__dataclass_fields__)[1:]
    lines = [
        "#ifndef NETWORKS_H",
        "#define NETWORKS_H",
        "enum { OP_CONV, OP_DEPTHWISE, OP_LINEAR, OP_POOL, OP_ADD };",
        f"typedef struct {{ int op; int {', '.join(names)}; }} layer_t;",
        f"#define MAX_ACTIVATION {activation}",
        "#define MAX_SCRATCH 32768",
        "#define LAYERS(X) " + " ".join(f"X({', '.join(map(str, run))})" for run in runs(layers)),
    ]
    for name, network in layers.items():
        rows = ", ".join("{" + ", ".join(map(str, astuple(layer))) + "}" for layer in network)
        lines.append(f"static const layer_t layers_{name}[] = {{{rows}}};")
    return "\n".join([*lines, "#endif", ""])


def runs(layers: dict[str, list[Layer]]) -> list[tuple[str, int, str, int]]:
    """What the bench executes: network, position of the layer, end of the function's name, 1 if weights have 4 bits."""
    return [
        (name, index, suffix, s4)
        for s4, suffix in enumerate(("", "_s4"))
        for name, network in layers.items()
        for index, layer in enumerate(network)
        if not s4 or layer.op not in NO_S4
    ]


def largest_weights(layers: dict[str, list[Layer]]) -> int:
    """Weights of the largest layer; all layers share them."""
    return max(layer.weights for network in layers.values() for layer in network)


def build(checkout: Path, board: Target, folder: Path) -> Path:
    """Compile the library and the bench.

    Raises:
        ToolMissing: there is no compiler.
        BuildFailed: it refused something, or the program does not fit the memory.
        UsageError: the checkout is none, or the target is no Arm core.
    """
    if board.memory is None or board.family != "arm":
        raise UsageError("CMSIS-NN is for Arm cores", got=board.name)
    sources = [
        path
        for name in FOLDERS
        for path in sorted((checkout / "Source" / name).glob("*.c"))
        if not path.stem.endswith(UNUSED)
    ]
    if not sources:
        raise UsageError("this is no checkout of CMSIS-NN", where=str(checkout))
    compiler = toolchains.require("gcc-arm").path
    layers = networks()
    (folder / "networks.h").write_text(header(layers))
    (folder / "weights.bin").write_bytes(random.Random(1).randbytes(largest_weights(layers)))  # noqa: S311
    flags = [
        *(flag for flag in board.flags if flag.startswith("-m")),
        *FLAGS,
        f"-I{checkout / 'Include'}",
        f"-I{folder}",
    ]

    def compiled(source: Path) -> str:
        output = folder / f"{source.stem}.o"
        _run([compiler, *flags, "-c", str(source), "-o", str(output)])
        return str(output)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, [BENCH, *sources]))
    elf, room = folder / f"cmsis_nn_{board.name}.elf", folder / "room.ld"
    flash, ram = board.memory.flash, board.memory.ram
    room.write_text(
        f'ASSERT(ADDR(.rodata) + SIZEOF(.rodata) <= {flash.base + flash.size:#x}, "too little flash")\n'
        f'ASSERT(_end + {STACK} <= {ram.base + ram.size:#x}, "too little RAM")\n'
    )
    places = [f"-Wl,--section-start=.vectors={flash.base:#x}", f"-Wl,-Ttext={flash.base + 256:#x}"]
    places += [f"-Wl,-Tdata={ram.base:#x}", f"-Wl,--defsym=stack_top={ram.base + ram.size:#x}", "-Wl,-e,main"]
    kept = ["-Wl,--gc-sections", "-Wl,--undefined=vectors", str(room)]
    _run([compiler, *flags, "-nostartfiles", *places, *kept, *objects, "-lc", "-lgcc", "-o", str(elf)])
    return elf


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildFailed(f"{Path(command[0]).name} refused the bench or the library", got="\n" + done.stderr[:2000])


@dataclass(frozen=True)
class Figures:
    """One network: totals of one inference, and ratios.

    Attributes:
        macs, instructions, cycles: in all.
        instructions_per_mac, cycles_per_mac, cycles_per_instruction: ratios of these.
        layers: instructions and cycles of each layer, in the order of `networks`.
    """

    macs: int
    instructions: int
    cycles: int | None
    instructions_per_mac: float
    cycles_per_mac: float | None
    cycles_per_instruction: float | None
    layers: tuple[tuple[int, int | None], ...] = ()

    @classmethod
    def of(cls, macs: int, layers: Sequence[tuple[int, int | None]]) -> Figures:
        """The sums of layers, and their ratios to a network's multiply-accumulates."""
        instructions = sum(count for count, _ in layers)
        known = [count for _, count in layers if count is not None]
        cycles = sum(known) if len(known) == len(layers) else None
        return cls(
            macs,
            instructions,
            cycles,
            round(instructions / macs, 3),
            None if cycles is None else round(cycles / macs, 3),
            None if cycles is None else round(cycles / instructions, 3),
            tuple(layers),
        )


@dataclass(frozen=True)
class Comparison:
    """The library on one target.

    Attributes:
        s8: every network by the kernels for 8-bit weights.
        s4: the same by those for 4-bit weights, and by the ones for 8 bits where there are no others (`NO_S4`).
        machine: what QEMU played; another than the target's where that has too little memory.
        conditions: what the cycles hold for.
    """

    s8: dict[str, Figures]
    s4: dict[str, Figures]
    machine: str
    conditions: str | None


def board_of(target: str, flash: Sequence[int]) -> Target:
    """A target, with other flash: wait states, bytes of an access, lines of code and of data that are held."""
    board = registry.load(target)
    if board.qemu is None or not flash:
        return board
    names = ("flash_wait", "flash_line", "flash_code_lines", "flash_data_lines")
    table = {**board.qemu.model_dump(), **dict(zip(names, flash, strict=True))}
    return board.model_copy(update={"qemu": Qemu.model_validate(table)})


def measure(checkout: Path, target: str, flash: Sequence[int] = ()) -> Comparison:
    """Every network on a target, with all the memory that its emulator has: it has no influence on the counts.

    A Cortex-M0+ is played by a Cortex-M3, which executes the same instructions: the library is compiled for the M0+,
    and its table has the cycles.
    """
    board, layers = roomy(board_of(target, flash)), networks()
    with tempfile.TemporaryDirectory() as name:
        elf = build(checkout, board, Path(name))
        wanted = [f"run_{network}_{index}{suffix}" for network, index, suffix, _ in runs(layers)]
        counts = functions.count(board, elf, wanted, timeout_s=600)

    def figures(network: str, suffix: str) -> Figures:
        names = [
            f"run_{network}_{index}{'' if layer.op in NO_S4 else suffix}" for index, layer in enumerate(layers[network])
        ]
        found = [(one.instructions, one.cycles) for one in map(counts.functions.__getitem__, names)]
        return Figures.of(sum(layer.macs for layer in layers[network]), found)

    every = [{network: figures(network, suffix) for network in layers} for suffix in ("", "_s4")]
    machine = "" if board.qemu is None else " ".join((board.qemu.machine, board.qemu.cpu or "")).strip()
    return Comparison(every[0], every[1], machine, counts.conditions)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cmsis-nn", type=Path, metavar="PATH", help="a checkout; left out: the pinned commit is cloned"
    )
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument(
        "--flash",
        type=int,
        nargs=4,
        default=(),
        metavar=("WAIT", "BYTES", "CODE", "DATA"),
        help="wait states, bytes of an access, lines of code and of data held; 5 16 64 16: an STM32L4R5 at 120 MHz",
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as name:
            checkout = options.cmsis_nn
            if checkout is None:
                checkout = Path(name) / "CMSIS-NN"
                subprocess.run(["git", "clone", "--quiet", REPOSITORY, str(checkout)], check=True)
                subprocess.run(["git", "-C", str(checkout), "checkout", "--quiet", COMMIT], check=True)
            found = measure(checkout, options.target, options.flash)
    except PlinioDeployError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        networks_of = {"networks": found.s8, "networks_s4": found.s4}
        document = {
            key: {network: asdict(figures) for network, figures in figures_of.items()}
            for key, figures_of in networks_of.items()
        }
        head = {"target": options.target, "machine": found.machine, "conditions": found.conditions}
        print(json.dumps({**head, **document}, indent=2))
        return 0
    for bits, figures_of in ((8, found.s8), (4, found.s4)):
        for network, figures in figures_of.items():
            ratios = {key: value for key, value in asdict(figures).items() if key != "layers"}
            print(network, f"w_bits={bits}", *(f"{key}={value}" for key, value in ratios.items()))
    print(found.machine, found.conditions, sep="; ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
