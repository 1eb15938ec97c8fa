# SPDX-License-Identifier: Apache-2.0
"""The generated C on emulated cores: every tensor of every layer equals the interpreter's."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.targets import registry
from plinio_deploy.targets.build import BuildInputs, Layer, build
from plinio_deploy.targets.runners import for_target
from plinio_deploy.targets.runners.base import RunRequest
from tests.codegen.harness import Case, make_case
from tests.networks import NETWORKS, random_network

SAMPLES = 3


def check_on(target_name: str, case: Case, folder: Path) -> None:
    """Build the bench, trace some samples, compare every byte."""
    manifest = case.manifest
    target = registry.load(target_name)
    inputs = BuildInputs(
        prefix=manifest.prefix,
        sources=tuple(manifest.sources),
        trace_sources=tuple(manifest.trace_sources),
        layers=tuple(Layer(step.layer, step.symbol, step.weights_bytes) for step in manifest.steps),
        arena_bytes=manifest.arena_bytes,
    )
    elf = build(case.artifact, inputs, target, folder).elf
    result = for_target(target).run(elf, RunRequest("trace", b"".join(case.inputs), len(case.inputs)))
    place = 0
    for sample in range(len(case.inputs)):
        for call in manifest.calls:
            got = result.outputs[place : place + call.bytes]
            place += call.bytes
            assert got == case.wanted(call, sample), f"{target_name}: {call.layer}, sample {sample}"
    assert place == len(result.outputs)


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "rv32imc"])
@pytest.mark.parametrize(
    ("name", "flavour"), [("packed_rows", "hi32"), ("packed_rows", "tflite"), ("residual", "tflite"), ("tcn", "hi32")]
)
def test_fixed_networks(name: str, flavour: str, target: str, tmp_path: Path) -> None:
    network = NETWORKS[name]("hi32" if flavour == "hi32" else "tflite")
    check_on(target, make_case(network, samples=SAMPLES), tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "rv32imc"])
@pytest.mark.parametrize("seed", [300, 301])
def test_random_networks(seed: int, target: str, tmp_path: Path) -> None:
    check_on(target, make_case(random_network(seed, ops=12), samples=SAMPLES), tmp_path)
