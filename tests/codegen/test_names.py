# SPDX-License-Identifier: Apache-2.0
"""Prefixes that are refused, identifiers that come out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen import names
from plinio_deploy.errors import UsageError


@pytest.mark.parametrize("prefix", ["net", "digits_cnn", "Net2", "a", "n" * names.MAX_PREFIX])
def test_usable_prefixes_come_back(prefix: str) -> None:
    assert names.check_prefix(prefix) == prefix


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "2net", "_net", "net-1", "net.x", "né", "net\n", "n" * (names.MAX_PREFIX + 1)),
        *("int", "INT", "restrict", "inline", "bool", "typeof", "class", "namespace", "co_await"),
        *("string", "math", "test"),
    ],
)
def test_other_prefixes_are_refused_with_a_hint(prefix: str) -> None:
    with pytest.raises(UsageError) as caught:
        names.check_prefix(prefix)
    assert caught.value.hints


def test_the_word_lists_hold_what_each_standard_reserves() -> None:
    assert len(names.C99_WORDS) == 37
    assert "_Generic" in names.C11_WORDS
    assert "constexpr" in names.C23_WORDS
    assert "concept" in names.CPP_WORDS
    assert "stdint" in names.STANDARD_HEADERS


@given(st.text(max_size=80))
def test_any_text_gives_a_piece_of_an_identifier(text: str) -> None:
    piece = names.identifier(text)
    assert re.fullmatch(r"[A-Za-z0-9_]+", piece)
    assert len(piece) <= names.MAX_LAYER


@given(st.lists(st.text(max_size=60), max_size=120))
def test_symbols_are_unique_and_sorted_as_they_run(layers: list[str]) -> None:
    symbols = names.layer_symbols("net", layers)
    assert len(set(symbols)) == len(layers)
    assert list(symbols) == sorted(symbols)


def test_a_symbol_reads_as_prefix_number_layer() -> None:
    assert names.layer_symbols("net", ["conv1", "blocks.0.conv"]) == ("net_l00_conv1", "net_l01_blocks_0_conv")
