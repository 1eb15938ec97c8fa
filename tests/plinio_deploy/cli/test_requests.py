# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import typer

from plinio_deploy.cli.options import BudgetName, SearchOptions, TrainingOptions, count, size
from plinio_deploy.cli.requests import from_recipe
from plinio_deploy.errors import UsageError
from plinio_deploy.pipeline.request import Limits, Request


def asked(training: TrainingOptions | None = None, search: SearchOptions | None = None) -> Request:
    return from_recipe(Path("out"), "digits", training or TrainingOptions(), search, ["ibex", "host"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16384", 16384),
        ("16k", 16384),
        ("16K", 16384),
        ("16KiB", 16384),
        ("16kB", 16000),
        ("1MB", 1_000_000),
        ("2 Mi", 2 << 20),
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
    assert asked(search=SearchOptions("mps, supernet", 1.0)).search.methods == ("supernet", "mps")


@pytest.mark.parametrize(("methods", "strength"), [("nas", 1.0), ("pit", 0.0), ("pit", float("nan"))])
def test_unknown_methods_and_strengths_are_refused(methods: str, strength: float) -> None:
    with pytest.raises(UsageError):
        asked(search=SearchOptions(methods, strength))


def test_each_option_arrives_where_it_belongs() -> None:
    request = asked(
        TrainingOptions(1, 2, 3, Path("images"), BudgetName.SHORT),
        SearchOptions(max_flash=4, max_ram=5, max_cycles=6, search_epochs=7, tune_epochs=8),
    )
    assert vars(request.training) == {"epochs": 1, "qat_epochs": 2, "seed": 3, "budget": "short"}
    assert (request.data, request.targets) == (Path("images"), ("ibex", "host"))
    assert request.search.limits == Limits(4, 5, 6)
    assert (request.search.epochs, request.search.tune_epochs) == (7, 8)
    assert asked().training.budget == "full"
