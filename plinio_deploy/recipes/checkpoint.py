# SPDX-License-Identifier: Apache-2.0
"""States of modules and of training: safetensors files with JSON inside, written as a whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from plinio_deploy.errors import OutputError, UsageError

_FACTS = "facts"


def write_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON facts to one file, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    data = save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        metadata={_FACTS: json.dumps(facts, sort_keys=True)},
    )
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(
            "a checkpoint cannot be written",
            where=str(path),
            got=error.strerror,
            hints=("Free some space, or name another folder.",),
        ) from error


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_state` wrote.

    Raises:
        UsageError: the file is missing or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UsageError(
            "a checkpoint cannot be read",
            where=str(path),
            got=str(error),
            hints=("Delete the file and run the command again.",),
        ) from error


def save_module(module: nn.Module, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a module's parameters and buffers.

    Raises:
        OutputError: the file cannot be written.
    """
    write_state(path, module.state_dict(), facts or {})


def load_module(module: nn.Module, path: Path) -> dict[str, Any]:
    """Read a module's parameters and buffers in place; returns the facts.

    Raises:
        UsageError: the file is missing or damaged, or belongs to another module.
    """
    tensors, facts = read_state(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise UsageError(
            "a checkpoint belongs to another model",
            where=str(path),
            got=str(error).split("\n")[-1].strip(),
            hints=("Delete the file and run the command again.",),
        ) from error
    return facts
