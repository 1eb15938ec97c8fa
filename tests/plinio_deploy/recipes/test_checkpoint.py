# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from plinio_deploy.errors import OutputError, UsageError
from plinio_deploy.recipes.checkpoint import load_module, read_state, save_module, write_state


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "flag": torch.tensor(True), "n": torch.tensor(3)}
    write_state(path, tensors, {"epoch": 2, "history": [{"loss": 0.5}]})
    found, facts = read_state(path)
    assert facts == {"epoch": 2, "history": [{"loss": 0.5}]}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert [p.name for p in path.parent.iterdir()] == ["state.safetensors"], "no temporary file is left"


def test_modules_come_back(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_module(model, tmp_path / "m.safetensors", {"metric": 0.5})
    assert load_module(other, tmp_path / "m.safetensors") == {"metric": 0.5}
    assert torch.equal(model.weight, other.weight)


def test_another_model_is_refused(tmp_path: Path) -> None:
    save_module(nn.Linear(3, 2), tmp_path / "m.safetensors")
    with pytest.raises(UsageError, match="another model"):
        load_module(nn.Linear(4, 2), tmp_path / "m.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00not json"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read_state(path)
    assert str(path) in str(caught.value)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_state(tmp_path / "none.safetensors")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        write_state(tmp_path / "folder" / "m.safetensors", {"a": torch.zeros(1)}, {})
