# SPDX-License-Identifier: Apache-2.0
"""Networks on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy import interpreter, storage
from plinio_deploy.artifact import Artifact
from plinio_deploy.errors import InvalidNetwork
from plinio_deploy.network import Flavour
from tests.plinio_deploy.toy import toy


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_a_loaded_network_is_the_saved_one(flavour: Flavour, tmp_path: Path) -> None:
    network = toy(flavour)
    storage.save(network, tmp_path)
    loaded = storage.load(tmp_path)
    assert storage.digest(loaded) == storage.digest(network)
    x = np.random.default_rng(0).integers(0, 256, (4, 4, 5, 2))
    before, after = interpreter.run(network, [x]), interpreter.run(loaded, [x])
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_digest_sees_every_weight() -> None:
    network = toy()
    before = storage.digest(network)
    network.ops[1].weights.codes[0, 0, 0, 0] ^= 1  # type: ignore[union-attr]
    assert storage.digest(network) != before


def damaged(change: str) -> Artifact:
    files = dict(storage.to_artifact(toy()).files)
    document = json.loads(files[storage.STRUCTURE_FILE])
    if change == "half a file":
        files[storage.STRUCTURE_FILE] = files[storage.STRUCTURE_FILE][:100]
    elif change == "half the weights":
        files[storage.WEIGHTS_FILE] = files[storage.WEIGHTS_FILE][:100]
    else:
        if change == "schema":
            document["schema"] = 99
        elif change == "unknown op":
            document["ops"][0]["kind"] = "fft"
        elif change == "unknown field":
            document["ops"][0]["colour"] = 1
        elif change == "missing field":
            del document["ops"][0]["padding"]
        elif change == "wrong type":
            document["tensors"][0]["bits"] = "8"
        files[storage.STRUCTURE_FILE] = json.dumps(document).encode()
    return Artifact(files)


@pytest.mark.parametrize(
    "change",
    ["half a file", "half the weights", "schema", "unknown op", "unknown field", "missing field", "wrong type"],
)
def test_damage_is_an_invalid_network(change: str) -> None:
    with pytest.raises(InvalidNetwork) as caught:
        storage.from_artifact(damaged(change), "some/folder")
    assert caught.value.where == "some/folder"


@pytest.mark.parametrize("name", [storage.STRUCTURE_FILE, storage.WEIGHTS_FILE])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    storage.save(toy(), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InvalidNetwork, match=name):
        storage.load(tmp_path)
