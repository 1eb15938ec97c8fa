# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import typer

from plinio_deploy.cli.options import BudgetName, CostName, count, size
from plinio_deploy.cli.requests import search, training
from plinio_deploy.errors import UsageError

NONE = (None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16384", 16384),
        ("16k", 16384),
        ("16K", 16384),
        ("16KiB", 16384),
        ("16kB", 16000),
        ("1.5k", 1536),
        ("1M", 1 << 20),
    ],
)
def test_bytes_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert size(text) == expected


def test_counts_are_decimal() -> None:
    assert count("3M") == 3_000_000


@pytest.mark.parametrize("text", ["", "k", "-3", "3 furlongs", "1e3"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        size(text)


def test_methods_run_in_one_order_whatever_the_order_given() -> None:
    assert search("mps, supernet", 1.0, CostName.SIZE, NONE, (None, None)).methods == ("supernet", "mps")


@pytest.mark.parametrize(("methods", "strength"), [("nas", 1.0), ("pit", 0.0), ("pit", float("nan"))])
def test_unknown_methods_and_strengths_are_refused(methods: str, strength: float) -> None:
    with pytest.raises(UsageError):
        search(methods, strength, CostName.SIZE, NONE, (None, None))


def test_budgets_have_names() -> None:
    assert training(None, None, None, BudgetName.SHORT).budget == "short"
