# SPDX-License-Identifier: Apache-2.0
"""The printed form parses back to the same network."""

from __future__ import annotations

import pytest
from safetensors.numpy import load

from plinio_deploy import printer, storage
from plinio_deploy.errors import InvalidNetwork
from plinio_deploy.network import Flavour
from tests.plinio_deploy.toy import toy


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_what_is_printed_parses_back(flavour: Flavour) -> None:
    network = toy(flavour)
    arrays = load(storage.to_artifact(network).files[storage.WEIGHTS_FILE])
    text = printer.to_text(network)
    parsed = printer.parse(text, arrays)
    assert storage.digest(parsed) == storage.digest(network)
    assert printer.to_text(parsed) == text


def test_one_line_per_op_and_readable() -> None:
    lines = printer.to_text(toy()).splitlines()
    assert lines[0] == "network toy: hi32"
    assert lines[1] == "input x: u8[4, 5, 2] scale=0.5 zero=3"
    assert lines[2] == "padded: u8[6, 7, 2] scale=0.5 zero=3 = pad border(x) padding=(1, 1, 1, 1)"
    assert lines[5].startswith("total: s8[4, 5, 3] scale=0.25 zero=-1 = add sum(features, pooled) rescale=add_rescale(")
    assert len(lines) == 2 + 9 + 1
    assert lines[-1] == "output logits"


def test_comments_and_empty_lines_are_passed_over() -> None:
    network = toy()
    arrays = load(storage.to_artifact(network).files[storage.WEIGHTS_FILE])
    text = "# a comment\n\n" + printer.to_text(network)
    assert storage.digest(printer.parse(text, arrays)) == storage.digest(network)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("network toy: hi32", "netwurk"),
        ("u8[4, 5, 2]", "u8[4; 5]"),
        ("= pad border", "= fad border"),
        ("padding=(1, 1, 1, 1)", "padding=(1, 1"),
        ('array("stem.bias")', 'array("nothing")'),
        ("padding=(1, 1, 1, 1)", "padding=open('x')"),
    ],
)
def test_a_bad_line_is_named(before: str, after: str) -> None:
    network = toy()
    arrays = load(storage.to_artifact(network).files[storage.WEIGHTS_FILE])
    text = printer.to_text(network).replace(before, after, 1)
    with pytest.raises(InvalidNetwork) as caught:
        printer.parse(text, arrays)
    assert str(caught.value.where).startswith("line ")


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(InvalidNetwork, match="empty"):
        printer.parse("\n", {})
