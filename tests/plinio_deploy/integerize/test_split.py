# SPDX-License-Identifier: Apache-2.0
"""Networks whose channels are assigned to accelerators: on disk, in print, checked, and cut into one op for each."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from plinio_deploy import interpreter, printer, storage
from plinio_deploy.errors import InvalidNetwork
from plinio_deploy.integerize import split
from plinio_deploy.network import Concat, Conv, Flavour, Linear, Network
from plinio_deploy.verify import verify
from tests.networks import random_inputs
from tests.plinio_deploy.toy import toy
from tests.random_networks import random_network


def assigned(flavour: Flavour = "hi32", **accelerators: tuple[str, ...]) -> Network:
    """The toy with an assignment of some layers."""
    network = toy(flavour)
    ops = tuple(
        dataclasses.replace(op, accelerators=accelerators[op.name])
        if isinstance(op, Conv | Linear) and op.name in accelerators
        else op
        for op in network.ops
    )
    return dataclasses.replace(network, ops=ops)


BOTH = {"stem": ("digital", "analog", "analog"), "head": ("analog", "digital", "digital", "analog")}


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_a_split_network_computes_the_same(flavour: Flavour) -> None:
    network = verify(assigned(flavour, stem=BOTH["stem"], head=BOTH["head"]))
    parts = split(network)
    x = np.random.default_rng(0).integers(0, 256, (4, 4, 5, 2))
    whole, cut = interpreter.run(network, [x]), interpreter.run(parts, [x])
    assert all(np.array_equal(whole[name], cut[name]) for name in whole)
    made = {op.name: op.accelerators for op in parts.ops if isinstance(op, Conv | Linear)}
    assert made == {
        "stem_digital": ("digital",),
        "stem_analog": ("analog",) * 2,
        "head_analog": ("analog",),
        "head_digital": ("digital",) * 2,
        "head_analog_2": ("analog",),
    }
    joined = [op for op in parts.ops if isinstance(op, Concat) and op.name.endswith("joined")]
    assert [len(op.inputs) for op in joined] == [2, 3]
    assert parts.outputs == network.outputs


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_any_assignment_can_be_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(seed, 5)
    ops = tuple(
        dataclasses.replace(op, accelerators=tuple(rng.choice(["a", "b", "c"], len(op.bias)).tolist()))
        if isinstance(op, Conv | Linear)
        else op
        for op in network.ops
    )
    parts = split(verify(dataclasses.replace(network, ops=ops)))
    inputs = random_inputs(network, 2)
    whole, cut = interpreter.run(network, inputs), interpreter.run(parts, inputs)
    assert all(np.array_equal(whole[name], cut[name]) for name in whole)
    for op in parts.ops:
        if isinstance(op, Conv | Linear):
            assert len(set(op.accelerators)) == 1 or (isinstance(op, Conv) and op.groups > 1)


def test_what_needs_no_cut_stays() -> None:
    for network in (toy(), assigned(stem=("digital",) * 3)):
        assert storage.digest(split(network)) == storage.digest(network)


def test_convolutions_with_groups_stay_whole() -> None:
    network = toy()
    stem = next(op for op in network.ops if op.name == "stem")
    assert isinstance(stem, Conv)
    tensors = {**network.tensors, "features": dataclasses.replace(network.tensors["features"], shape=(4, 5, 2))}
    weights = dataclasses.replace(stem.weights, codes=stem.weights.codes[:2, :, :, :1], bits=(8, 4))
    requant = dataclasses.replace(stem.requant, multiplier=stem.requant.multiplier[:2])
    deep = dataclasses.replace(
        stem, weights=weights, groups=2, bias=stem.bias[:2], requant=requant, accelerators=("digital", "analog")
    )
    small = Network("small", "hi32", ("x",), ("features",), {k: tensors[k] for k in ("x", "padded", "features")},
                    (network.ops[0], deep))  # fmt: skip
    assert split(small).ops[1] is deep


def test_the_assignment_is_stored_and_printed() -> None:
    network = assigned(stem=BOTH["stem"], head=BOTH["head"])
    artifact = storage.to_artifact(network)
    text = printer.to_text(network)
    assert "accelerators=('digital', 'analog', 'analog')" in text
    for again in (storage.from_artifact(artifact), printer.parse(text, load(artifact.files[storage.WEIGHTS_FILE]))):
        assert storage.digest(again) == storage.digest(network)
        assert {op.name: op.accelerators for op in again.ops if isinstance(op, Conv | Linear)} == BOTH
    many = assigned(head=("a", "a", "a", "b"))
    assert storage.digest(many) != storage.digest(toy())


def test_without_an_assignment_nothing_is_written() -> None:
    document = json.loads(storage.to_artifact(toy()).files[storage.STRUCTURE_FILE])
    assert all("accelerators" not in entry for entry in document["ops"])
    assert "accelerators" not in printer.to_text(toy())


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("digital", "analog"), "one accelerator per channel"),
        (("digital", "the other", "analog"), "bad name"),
        (("digital", "\u00e9", "analog"), "bad name"),
    ],
)
def test_bad_assignments_are_refused(names: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InvalidNetwork, match=problem):
        verify(assigned(stem=names))
