# SPDX-License-Identifier: Apache-2.0
"""What a user asked of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plinio_deploy.codegen.requested import Requested
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.recipe import Budget


@dataclass(frozen=True)
class Training:
    """Settings that replace the recipe's own; ``None`` keeps the recipe's.

    Attributes:
        epochs: of float training.
        qat_epochs: of training with quantizers.
        seed: of everything random.
        budget: whether all numbers of epochs that are not given are the recipe's, or its short share of them.
    """

    epochs: int | None = None
    qat_epochs: int | None = None
    seed: int | None = None
    budget: Budget = "full"


METHODS = ("supernet", "pit", "mps")
"""In the order in which they run: layers, channels, widths."""


@dataclass(frozen=True)
class Limits:
    """What the firmware may take, bench and start-up code included.

    Attributes:
        flash: bytes of ``flash_bytes`` in ``measurement.json``.
        ram: bytes of ``ram_bytes``.
        cycles: of one inference.
    """

    flash: int | None = None
    ram: int | None = None
    cycles: int | None = None

    def given(self) -> Mapping[str, int]:
        """Those that were given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Search:
    """What to search for.

    Attributes:
        methods: out of `METHODS`, in that order; empty for no search.
        strength: price of the whole initial cost, in units of the task's loss; ``None`` aims at the limits.
        cost: what the price is on; see `plinio_deploy.recipes.goals`.
        limits: checked in the ELF file and the measurement, with or without a search.
        epochs: of each search instead of the recipe's.
        tune_epochs: of fine-tuning instead of the recipe's.
    """

    methods: tuple[str, ...] = ()
    strength: float | None = None
    cost: str = "size"
    limits: Limits = field(default_factory=Limits)
    epochs: int | None = None
    tune_epochs: int | None = None


@dataclass(frozen=True)
class Request:
    """One run.

    Attributes:
        workspace: where results go.
        recipe: built-in name, or path of a Python file.
        targets: names or paths of target files, in the order of the report; one that is named twice counts once.
        training: settings that replace the recipe's.
        prefix: of the C symbols, macros and files.
        samples: test samples to run on each target; 0 is all of them.
        trace_samples: samples of which every tensor is compared.
        data: folder that the recipe reads; ``None`` if it brings its own.
        search: between training and integers.
        tune: whether kernels are chosen by measurement rather than by estimate.
        kernels: kernels on request that were asked for or ruled out, by the verbs that generate or tune alone.
    """

    workspace: Workspace
    recipe: str = ""
    targets: tuple[str, ...] = ()
    training: Training = field(default_factory=Training)
    prefix: str = "net"
    samples: int = 0
    trace_samples: int = 16
    data: Path | None = None
    search: Search = field(default_factory=Search)
    tune: bool = False
    kernels: Requested = field(default_factory=Requested)
