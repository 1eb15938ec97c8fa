# SPDX-License-Identifier: Apache-2.0
"""Each rule of the grammar: a good network passes, one broken field is refused with its place."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest

from plinio_deploy.errors import InvalidNetwork
from plinio_deploy.network import AddRescale, Conv, Flavour, Hi32, Linear, Network, Tflite, Weights
from plinio_deploy.verify import verify
from tests.plinio_deploy.toy import toy, with_op, with_tensor


def stem(network: Network) -> Conv:
    op = network.ops[1]
    assert isinstance(op, Conv)
    return op


def hi32(network: Network) -> Hi32:
    requant = stem(network).requant
    assert isinstance(requant, Hi32)
    return requant


def wide_linear() -> Network:
    """A linear layer whose 70 000 products of 255 * 127 pass int32."""
    network = toy()
    head = network.ops[-1]
    assert isinstance(head, Linear)
    weights = Weights(np.full((4, 70_000), 127, dtype=np.int8), (8,) * 4)
    network = with_tensor(network, "flat", shape=(70_000,), bits=8)
    lone = dataclasses.replace(head, weights=weights)
    tensors = {name: network.tensors[name] for name in ("flat", "logits")}
    return dataclasses.replace(network, inputs=("flat",), tensors=tensors, ops=(lone,))


BROKEN: dict[str, tuple[Callable[[Network], Network], str]] = {
    "network name": (lambda n: dataclasses.replace(n, name="1st"), "no C identifier"),
    "flavour": (lambda n: dataclasses.replace(n, flavour="q7"), "unknown requantization flavour"),  # type: ignore[arg-type]
    "tensor width": (lambda n: with_tensor(n, "x", bits=3), "unknown bit width"),
    "tensor scale": (lambda n: with_tensor(n, "x", scale=0.0), "scale must be positive"),
    "tensor zero point": (lambda n: with_tensor(n, "x", zero_point=-1), "zero point is no code"),
    "tensor rank": (lambda n: with_tensor(n, "x", shape=(4, 5)), "neither 1 nor 3 axes"),
    "tensor empty": (lambda n: with_tensor(n, "x", shape=(4, 0, 2)), "empty"),
    "read before written": (lambda n: dataclasses.replace(n, ops=n.ops[1:]), "read before it is written"),
    "written twice": (lambda n: with_op(n, "peak", output="features"), "written twice"),
    "two names": (lambda n: with_op(n, "peak", name="stem"), "two ops have one name"),
    "orphan": (lambda n: dataclasses.replace(n, ops=n.ops[:-1], outputs=("flat",)), "no op writes"),
    "no output": (lambda n: dataclasses.replace(n, outputs=()), "needs an output"),
    "input as output": (lambda n: dataclasses.replace(n, outputs=("x",)), "cannot be an output"),
    "pad shape": (lambda n: with_op(n, "border", padding=(1, 1, 1, 0)), "wrong shape"),
    "conv stride": (lambda n: with_op(n, "stem", stride=(2, 2)), "wrong height or width"),
    "conv groups": (lambda n: with_op(n, "stem", groups=2), "groups do not divide"),
    "conv bias": (lambda n: with_op(n, "stem", bias=np.zeros(2, np.int32)), "wrong number of biases"),
    "conv bias type": (lambda n: with_op(n, "stem", bias=np.zeros(3)), "not int32"),
    "weight range": (
        lambda n: with_op(n, "stem", weights=Weights(stem(n).weights.codes, (8, 2, 4))),
        "channel 1 exceed 2 bits",
    ),
    "weight widths": (
        lambda n: with_op(n, "stem", weights=Weights(stem(n).weights.codes, (8, 4))),
        "one bit width per channel",
    ),
    "weight width 0": (
        lambda n: with_op(n, "stem", weights=Weights(stem(n).weights.codes, (8, 0, 4))),
        "unknown bit width of channel 1",
    ),
    "clamp": (lambda n: with_op(n, "stem", requant=dataclasses.replace(hi32(n), clamp=(-129, 0))), "clamp leaves"),
    "multiplier": (
        lambda n: with_op(n, "stem", requant=dataclasses.replace(hi32(n), multiplier=np.zeros(3, np.int32))),
        "multiplier is not positive",
    ),
    "shift": (lambda n: with_op(n, "stem", requant=dataclasses.replace(hi32(n), shift=32)), "shift is out of range"),
    "overflow by shift": (
        lambda n: with_op(n, "stem", requant=dataclasses.replace(hi32(n), shift=20)),
        "can overflow the accumulator",
    ),
    "overflow by bias": (
        lambda n: with_op(n, "stem", bias=np.full(3, 2**31 - 1, np.int32)),
        "can overflow the accumulator",
    ),
    "other flavour": (
        lambda n: with_op(
            n, "stem", requant=Tflite(np.full(3, 2**30, np.int32), np.zeros(3, np.int32), True, (-128, 127))
        ),
        "other flavour",
    ),
    "max pool quantizer": (lambda n: with_tensor(n, "pooled", scale=1.0), "keeps its quantizer"),
    "max pool padding": (
        lambda n: with_tensor(with_op(n, "peak", padding=(3, 0, 1, 1), kernel=(3, 3)), "pooled", shape=(5, 5, 3)),
        "lies in the padding alone",
    ),
    "add shapes": (lambda n: with_op(n, "sum", inputs=("features", "padded")), "equal shapes"),
    "add overflow": (
        lambda n: with_op(n, "sum", rescale=AddRescale((2**24, 2**24), 20, 0, (-128, 127))),
        "can overflow the add",
    ),
    "concat axis": (lambda n: with_op(n, "join", axis=3), "no such axis"),
    "concat quantizer": (lambda n: with_op(n, "join", inputs=("total", "padded")), "inputs differ off the axis"),
    "reshape size": (lambda n: with_tensor(n, "flat", shape=(23,)), "keeps all elements"),
    "reshape quantizer": (lambda n: with_tensor(n, "flat", zero_point=0), "keeps its quantizer"),
    "linear input": (lambda n: with_op(n, "head", input="coarse"), "the input's shape"),
    "accumulator": (lambda _: wide_linear(), "can overflow the accumulator"),
}


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_a_good_network_passes(flavour: Flavour) -> None:
    network = toy(flavour)
    assert verify(network) is network


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_refused(case: str) -> None:
    change, message = BROKEN[case]
    with pytest.raises(InvalidNetwork, match=re.escape(message)):
        verify(change(toy()))


def test_a_tflite_average_needs_an_element_in_every_window() -> None:
    network = with_op(toy("tflite"), "average", padding=(2, 0, 0, 0))
    with pytest.raises(InvalidNetwork, match="lies in the padding alone"):
        verify(with_tensor(network, "mean", shape=(3, 2, 6)))


def test_the_overflow_proof_names_the_channel() -> None:
    with pytest.raises(InvalidNetwork) as caught:
        verify(wide_linear())
    assert caught.value.where == "head, channel 0"
