# SPDX-License-Identifier: Apache-2.0
"""What a user asked of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field

from plinio_deploy.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Training:
    """Settings that replace the recipe's own; ``None`` keeps the recipe's.

    Attributes:
        epochs: of float training.
        qat_epochs: of training with quantizers.
        seed: of everything random.
    """

    epochs: int | None = None
    qat_epochs: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Request:
    """One run.

    Attributes:
        workspace: where results go.
        recipe: built-in name, or path of a Python file.
        targets: names or paths of target files, in the order of the report.
        training: settings that replace the recipe's.
        prefix: of the C symbols, macros and files.
        samples: test samples to run on each target; 0 is all of them.
        trace_samples: samples of which every tensor is compared.
    """

    workspace: Workspace
    recipe: str = ""
    targets: tuple[str, ...] = ()
    training: Training = field(default_factory=Training)
    prefix: str = "net"
    samples: int = 0
    trace_samples: int = 16
