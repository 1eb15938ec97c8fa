# SPDX-License-Identifier: Apache-2.0
"""Is what torch validates what the chip computes? The five reference networks at seven precisions, on real data.

Each network is trained in float, then for each precision with quantizers in, its batch norms back meanwhile;
``training`` says how long. Then, for each:

- ``differing_codes``: torch in exact mode, with all of the model's channels in the model's order, against the numpy
  interpreter of the integer network, whose 0-bit channels are gone and whose channels are in another order: codes that
  differ, over every tensor. Has to be 0.
- ``max_lsb``: the fake-quantized network as it is evaluated, in eval mode without gradients, against the integers: the
  greatest difference in codes that any layer makes from equal inputs. Has to be at most 1.
- ``max_lsb_float32``: the same with gradients, as in training, where sums are those of float32. Likewise.
- ``agreement``: share of test samples with the same decision, evaluated from end to end against integers: the class
  with the greatest output; for `ad` whether the sample is an anomaly (its error against the 90th percentile of that of
  normal samples); for `tcn`, which gives one number, whether it is at most one code away.
- ``targets`` (with ``--targets``): samples of which every tensor was compared on each target, and how many differ.

::

    python benchmarks/exactness.py --data-root ../data --targets host,cortex-m4 --json results.json

What is trained is kept in ``--cache``, and rows that lie in ``--json`` already stay: the same command again goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from exactness_training import BATCH, PRECISIONS, Course
from torch import Tensor

from plinio_deploy import host, interpreter
from plinio_deploy.codegen import Manifest, Options, generate
from plinio_deploy.errors import BuildFailed, DoesNotFit
from plinio_deploy.integerize import Lowered, lower
from plinio_deploy.integerize.compare import input_codes, layer_differences, trace_codes
from plinio_deploy.network import Network
from plinio_deploy.packing import pack
from plinio_deploy.pipeline.build import Project
from plinio_deploy.quantization import QuantNetwork
from plinio_deploy.recipe import Recipe, Split, load_recipe
from plinio_deploy.targets import build, registry, runners
from plinio_deploy.targets.runners.base import RunRequest
from plinio_deploy.targets.schema import Target

DATA = {
    "ic": "cifar10",
    "kws": "arabic_speech_commands",
    "vww": "cifar100_person",
    "ad": "hydraulic",
    "tcn": "bidmc_ppg",
}
"""Folder of each network below ``--data-root``."""

CHUNK = 50
"""Samples that are compared at a time."""


@dataclass
class Row:
    """What was found of one network at one precision; see the module's text."""

    network: str
    precision: str
    samples: int
    exact_samples: int
    tensors: int
    removed_channels: int
    differing_codes: int
    max_lsb: int
    layers_off_by_one: int
    agreement: float
    metric_float: float
    metric_integer: float
    max_lsb_float32: int | None = None  # of rows that are older than it
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)


def agreement(recipe: Recipe, outputs: Sequence[npt.NDArray[Any]], split: Split, scale: float) -> float:
    """Share of samples of which float mode and integers decide the same; see the module's text.

    Args:
        recipe: one of `DATA`.
        outputs: of float mode, and of the integer network.
        split: the samples.
        scale: step of the output's codes.
    """
    if recipe.name == "ad":
        errors = [np.mean(np.square(each - split.y[:, 1:]), 1) for each in outputs]
        threshold = np.quantile(errors[0][split.y[:, 0] == 0], 0.9)
        return float(np.mean((errors[0] > threshold) == (errors[1] > threshold)))
    if recipe.name == "tcn":
        return float(np.mean(np.abs(outputs[0] - outputs[1])[:, 0] < 1.5 * scale))
    return float(np.mean(np.argmax(outputs[0], 1) == np.argmax(outputs[1], 1)))


def examine(
    course: Course, qnet: QuantNetwork, precision: str, samples: int | None, exact_samples: int
) -> tuple[Row, Lowered]:
    """Everything but the targets; layers from equal inputs on the first ``exact_samples`` and those of their chunk."""
    recipe, full = course.recipe, course.data.test
    chosen = np.sort(np.random.default_rng(0).permutation(len(full))[:samples])
    test = Split(full.x[chosen], full.y[chosen])
    made = lower(qnet, recipe.name)
    out = made.network.output_tensors()[0]
    worst: dict[str, int] = {}
    trained: dict[str, int] = {}
    real: list[npt.NDArray[Any]] = []
    whole: list[npt.NDArray[Any]] = []
    for first in range(0, len(test), CHUNK):
        x = torch.from_numpy(test.x[first : first + CHUNK])
        codes = trace_codes(made, x)
        if first < exact_samples:
            for name, found in layer_differences(qnet, made, x, codes=codes).items():
                worst[name] = max(worst.get(name, 0), found)
            for name, found in layer_differences(qnet, made, x, codes=codes, gradients=True).items():
                trained[name] = max(trained.get(name, 0), found)
        whole.append(host.dequantize(out, codes[out.name]).reshape(len(x), -1))
        with torch.no_grad():
            real.append(qnet(x).numpy().reshape(len(x), -1))
    outputs = [np.concatenate(parts) for parts in (real, whole)]
    row = Row(
        network=recipe.name,
        precision=precision,
        samples=len(test),
        exact_samples=min(exact_samples, len(test)),
        tensors=len(made.network.tensors),
        removed_channels=sum(layer.weight_quantizer.bits.count(0) for layer in map(qnet.layer, qnet.layer_of)),
        differing_codes=differing_codes(qnet, made, torch.from_numpy(test.x[:exact_samples])),
        max_lsb=max(worst.values()),
        max_lsb_float32=max(trained.values()),
        layers_off_by_one=sum(found == 1 for found in worst.values()),
        agreement=agreement(recipe, outputs, test, out.scale),
        metric_float=float(recipe.metric(outputs[0], test.y)),
        metric_integer=float(recipe.metric(outputs[1], test.y)),
    )
    return row, made


def differing_codes(qnet: QuantNetwork, made: Lowered, x: Tensor) -> int:
    """Codes that differ between torch's exact mode, all channels in the model's order, and the interpreter."""
    model = lower(qnet, made.network.name, compact=False)
    differing = 0
    for first in range(0, len(x), CHUNK):
        part = x[first : first + CHUNK]
        exact = trace_codes(model, part)
        for name, codes in interpreter.run(made.network, input_codes(made, part)).items():
            expected = exact[name].reshape(len(part), -1)[:, made.elements[name]]
            differing += int(np.count_nonzero(expected != codes.reshape(len(part), -1)))
    return differing


def big_enough(target: Target) -> Target:
    """The target itself; for the Cortex-M0+ its code on QEMU's Cortex-M3, which runs it and has the RAM."""
    if target.name != "cortex-m0plus":
        return target
    larger = registry.load("cortex-m3")
    memory = larger.memory
    if memory is not None:  # the machine has 4 MiB
        memory = memory.model_copy(update={"ram": memory.ram.model_copy(update={"size": 0x4_0000})})
    return target.model_copy(update={"memory": memory, "qemu": larger.qemu})


def on_target(network: Network, codes: Sequence[npt.NDArray[Any]], target: Target) -> dict[str, Any]:
    """Every tensor of a few samples on one target, against the interpreter."""
    artifact = generate(network, Options(prefix="net", isa=tuple(target.features)))
    manifest = Manifest.parse(artifact.files["manifest.json"])
    values = interpreter.run(network, codes)
    samples = len(codes[0])
    given = b"".join(
        pack(tensor, each[sample])
        for sample in range(samples)
        for tensor, each in zip(network.input_tensors(), codes, strict=True)
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            elf = build.build(artifact, Project(artifact, manifest).inputs, big_enough(target), Path(folder)).elf
            run = runners.for_target(big_enough(target)).run(elf, RunRequest("trace", given, samples))
    except (BuildFailed, DoesNotFit) as error:
        return {"samples": 0, "refused": error.what}
    place, differing = 0, 0
    for sample in range(samples):
        for step in manifest.steps:
            expected = pack(network.tensors[step.tensor], values[step.tensor][sample])
            differing += run.outputs[place : place + step.bytes] != expected
            place += step.bytes
    return {"samples": samples, "tensors": samples * len(manifest.steps), "differing_tensors": differing}


def compare_network(name: str, given: argparse.Namespace, done: Mapping[str, Row]) -> Iterator[Row]:
    """All rows of one network; of those that are done only targets that they lack."""
    recipe = load_recipe(name, given.data_root / DATA[name])
    course = Course(recipe, recipe.data(), given.steps, given.qat_steps, given.seed, given.cache, given.weights)
    model = course.trained()
    for precision in given.precisions:
        targets = given.targets if precision in given.target_precisions else []
        if precision in done and set(targets) <= set(done[precision].targets):
            continue
        qnet = course.quantized(model, precision)
        if precision in done:
            row, made = done[precision], lower(qnet, recipe.name)
        else:
            row, made = examine(course, qnet, precision, given.samples, given.exact_samples)
        if targets:
            codes = input_codes(made, torch.from_numpy(course.data.test.x[: given.target_samples]))
            for target in (each for each in targets if each not in row.targets):
                row.targets[target] = on_target(made.network, codes, registry.load(target))
        yield row


def arguments() -> argparse.Namespace:
    """The command line."""
    names = lambda text: [part for part in text.split(",") if part]  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of " + ", ".join(DATA.values()))
    parser.add_argument("--networks", type=names, default=list(DATA))
    parser.add_argument("--precisions", type=names, default=list(PRECISIONS))
    parser.add_argument("--samples", type=int, help="test samples of float mode against integers; all by default")
    parser.add_argument(
        "--exact-samples", type=int, default=100, help="test samples of the comparisons of every layer's codes"
    )
    parser.add_argument("--steps", type=int, default=1000, help=f"of float training, batches of {BATCH}")
    parser.add_argument("--qat-steps", type=int, default=400, help="with quantizers in; w8a8 and w4a8 take fewer")
    parser.add_argument("--weights", type=Path, help="state of the float network to start from, for one network")
    parser.add_argument("--cache", type=Path, help="folder that keeps what was trained")
    parser.add_argument("--targets", type=names, default=[], help="host, cortex-m0plus, cortex-m4, ...")
    parser.add_argument("--target-precisions", type=names, default=["w8a8", "mixed"])
    parser.add_argument("--target-samples", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows there; rows of other networks in it are kept")
    return parser.parse_args()


def text_of(row: Row) -> str:
    """One line of the table."""
    targets = " ".join(
        f"{name}:{found['refused'][:20] if 'refused' in found else found['differing_tensors']}"
        for name, found in row.targets.items()
    )
    return (
        f"{row.network:5} {row.precision:6} {row.differing_codes:9} {row.max_lsb:8} {100 * row.agreement:9.2f}"
        f" {row.metric_float:7.4f} {row.metric_integer:7.4f} {row.samples:8} {row.removed_channels:8}  {targets}"
    )


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """How networks are trained, for the document."""
    return {
        "float_steps": given.steps,
        "qat_steps": given.qat_steps,
        "batch": BATCH,
        "seed": given.seed,
        "from": given.weights and given.weights.name,
    }


def rows_done(given: argparse.Namespace, network: str) -> dict[str, Row]:
    """Rows of a network by precision that an earlier run has left under the same settings."""
    if given.json is None or not given.json.is_file():
        return {}
    document = json.loads(given.json.read_text(encoding="utf-8"))
    if document["training"].get(network) != settings(given):
        return {}
    return {row["precision"]: Row(**row) for row in document["rows"] if row["network"] == network}


def save(path: Path, rows: Sequence[Row], given: argparse.Namespace) -> None:
    """Write the document; rows of an earlier run that this one does not replace stay."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    training: dict[str, Any] = {}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        training = before["training"]
        for old in before["rows"]:
            found[old["network"], old["precision"]] = old
    for row in rows:
        found[row.network, row.precision] = asdict(row)
        training[row.network] = settings(given)
    order = [(network, precision) for network in DATA for precision in PRECISIONS]
    document = {
        "benchmark": "exactness",
        "data": DATA,
        "training": training,
        "torch": torch.__version__.split("+")[0],
        "rows": [found[key] for key in order if key in found],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Print the table; 1 if anything differs that must not."""
    given = arguments()
    torch.set_num_threads(1)
    print("net   bits   differing  max_lsb  agree_%   float integer  samples  removed  targets: differing tensors")
    rows: list[Row] = []
    start = time.monotonic()
    for name in given.networks:
        for row in compare_network(name, given, rows_done(given, name)):
            rows.append(row)
            print(text_of(row), f" [{time.monotonic() - start:.0f} s]", flush=True)
            if given.json is not None:
                save(given.json, rows, given)
    wrong = [row for row in rows if row.differing_codes or max(row.max_lsb, row.max_lsb_float32 or 0) > 1]
    wrong += [row for row in rows for found in row.targets.values() if found.get("differing_tensors", 1)]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
