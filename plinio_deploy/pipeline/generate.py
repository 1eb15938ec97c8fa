# SPDX-License-Identifier: Apache-2.0
"""Stage `generate`: the integer network becomes a C project, below ``project/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plinio_deploy import interpreter, storage
from plinio_deploy.artifact import Artifact
from plinio_deploy.codegen import Manifest, Options, Vectors, generate
from plinio_deploy.codegen.manifest import FILE as MANIFEST
from plinio_deploy.console import Terminal
from plinio_deploy.errors import UsageError
from plinio_deploy.measure import input_bytes
from plinio_deploy.network import Network
from plinio_deploy.packing import pack
from plinio_deploy.pipeline.stage import Record, StageFolder, digest_json, package_digest, perform, sha256
from plinio_deploy.testdata import TestData

PROJECT = "project"
SELFTEST_SAMPLES = 4
"""Vectors that the project carries for `net_selftest`: enough to notice a wrong compiler, small enough for flash."""

_CODE = ("codegen", "network.py", "fixedpoint.py", "packing.py", "pipeline/generate.py")


def run(folder: StageFolder, network: Network, data: TestData | None, options: Options, terminal: Terminal) -> Record:
    """Generate the project, unless it is there already.

    Args:
        folder: where the stage keeps its result.
        network: the integer network.
        data: its test set, for the self-test's vectors; ``None`` leaves the self-test without vectors.
        options: of the code generator.
        terminal: told what goes on.
    """
    vectors = _vectors(network, data)
    inputs = {
        "network": storage.digest(network),
        "options": digest_json([options.as_dict(), options.schedule.model_dump()]),
        "vectors": sha256(b"".join([*vectors.inputs, *vectors.outputs])) if vectors else "",
        "code": package_digest(*_CODE),
    }

    def make(work: Path) -> Mapping[str, Any]:
        artifact = generate(network, options, vectors)
        artifact.write(work / PROJECT)
        manifest = Manifest.parse(artifact.files[MANIFEST])
        return {
            "project_digest": artifact.digest(),
            "prefix": options.prefix,
            "arena_bytes": manifest.arena_bytes,
            "bands": None if manifest.bands is None else manifest.bands.model_dump(),
        }

    return perform(folder, inputs, terminal, make)


def _vectors(network: Network, data: TestData | None) -> Vectors | None:
    if data is None:
        return None
    few = data.head(SELFTEST_SAMPLES)
    values = interpreter.run(network, few.codes)
    outputs = [
        b"".join(pack(tensor, values[tensor.name][sample]) for tensor in network.output_tensors())
        for sample in range(few.samples)
    ]
    packed = input_bytes(network, few)
    size = len(packed) // few.samples
    return Vectors([packed[index * size : (index + 1) * size] for index in range(few.samples)], outputs)


def load_project(folder: Path) -> tuple[Artifact, Manifest]:
    """The C project that `run` left, and its manifest.

    Args:
        folder: the project's own folder.

    Raises:
        UsageError: it cannot be read, or its manifest is damaged.
    """
    try:
        artifact = Artifact.read(folder)
        text = artifact.files[MANIFEST]
    except (OSError, KeyError) as error:
        raise UsageError("the C project cannot be read", where=str(folder), got=str(error)) from error
    return artifact, Manifest.parse(text, str(folder / MANIFEST))
