# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from plinio_deploy.codegen import generate
from plinio_deploy.codegen.manifest import FILE, Manifest
from plinio_deploy.network import Conv, Network
from plinio_deploy.report import collect, render
from tests.plinio_deploy.report.samples import measurement, with_cycles
from tests.plinio_deploy.toy import toy

VOID = {"meta", "br", "rect", "line", "polyline", "i"}


class Checker(HTMLParser):
    """Notes every tag that is not closed in order, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)


def _page(
    *measurements: dict[str, Any],
    recipe: str = "toy",
    training: dict[str, Any] | None = None,
    network: Network | None = None,
) -> str:
    network = network or toy()
    manifest = Manifest.parse(generate(network).files[FILE]).model_dump()
    return render(
        collect(network=network, recipe=recipe, training=training or {}, manifest=manifest, measurements=measurements)
    )


def test_one_page_well_formed_that_needs_nothing_else() -> None:
    page = _page(measurement("cortex-m4"), measurement("host", None), training={"history": [{"loss": 1.0}] * 3})
    checker = Checker()
    checker.feed(page)
    assert checker.problems == []
    assert checker.open == []
    assert checker.addresses == []
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_numbers_that_matter_are_on_it() -> None:
    page = _page(measurement("cortex-m4", 123456), measurement("rv32imc", 98765))
    for text in ("123\u202f456", "98\u202f765", "97.50\u202f%", "bit-exact", "cortex-m4", "rv32imc", "stem", "ab" * 32):
        assert text in page
    assert "gcc 12.2.1, qemu 7.2.22" in page


def test_accelerators_have_a_column_where_there_are_any() -> None:
    network, names = toy(), ("digital", "analog", "analog")
    ops = tuple(dataclasses.replace(op, accelerators=names) if isinstance(op, Conv) else op for op in network.ops)
    page = _page(measurement("cortex-m4"), network=dataclasses.replace(network, ops=ops))
    checker = Checker()
    checker.feed(page)
    assert checker.problems == []
    assert "<td>digital<small>1 ch.</small>analog<small>2 ch.</small></td>" in page
    assert page.count("<th>Accelerator</th>") == 1
    assert "Accelerator" not in _page(measurement("cortex-m4"))


def test_a_difference_is_said_first() -> None:
    page = _page(measurement("cortex-m4", differing=3))
    assert "bit-exact" not in page
    assert page.index("differs") < page.index("<h2>")


def test_no_counts_no_instruction_plot() -> None:
    page = _page(measurement("host", None))
    assert "Instructions per layer" not in page
    assert "Memory over time" in page


def test_cycles_appear_with_their_source_once_a_target_has_them() -> None:
    without = _page(measurement("cortex-m4"))
    assert "<th>Cycles</th>" not in without
    assert "Cycles per layer" not in without
    page = _page(with_cycles("ibex", 700123), measurement("host", None))
    assert "<th>Cycles</th>" in page
    assert "700\u202f123<small>rtl</small>" in page
    assert "<h2>Cycles per layer: rtl</h2>" in page
    assert "ibex: counted somehow; ibex, no waiting." in page
    assert "3\u202f200\u202f000 cycles simulated per second" in page
    assert "<th>ibex<small>cycles (rtl)</small></th>" in page
    assert "<td>1\u202f000<small>" in page
    checker = Checker()
    checker.feed(page)
    assert (checker.problems, checker.open) == ([], [])


def test_cycles_of_two_sources_are_never_in_one_drawing() -> None:
    page = _page(with_cycles("ibex", 1), with_cycles("cortex-m4", 2, "model"), with_cycles("picorv32", 3))
    drawings = page.split("<h2>Cycles per layer: ")[1:]
    assert [text.partition("<")[0] for text in drawings] == ["rtl", "model"]
    assert "cortex-m4" not in drawings[0]
    assert "ibex" in drawings[0]
    assert "picorv32" in drawings[0]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_layer_that_one_target_executes_along_with_another_has_no_figure_there(*, reverse: bool) -> None:
    every, fewer = with_cycles("cortex-m4", 2, "model"), with_cycles("cortex-m7", 3, "model")
    *_, gone, last = (layer["name"] for layer in every["layers"])
    fewer["layers"] = [layer for layer in fewer["layers"] if layer["name"] != gone]
    figures = {layer["name"]: layer["cycles"] for layer in every["layers"]}
    page = _page(*((fewer, every) if reverse else (every, fewer)))
    rows = page.partition("<h2>Layers</h2>")[2].split("<tr><td>")
    (row,) = (text for text in rows if text.startswith(f"{gone}</td>"))
    cells = [text.partition("<")[0] for text in row.split("<td>")][-4:]
    shown = f"1\u202f{figures[gone] % 1000:03d}"
    assert cells[2:] == (["\u2013", shown] if reverse else [shown, "\u2013"])
    (row,) = (text for text in rows if text.startswith(f"{last}</td>"))
    shown = f"1\u202f{figures[last] % 1000:03d}"
    assert [text.partition("<")[0] for text in row.split("<td>")][-2:] == [shown, shown]
    titles = re.findall(r"<title>([^<]+) cycles</title>", page)
    assert [title for title in titles if title.startswith(f"{gone}, ")] == [
        f"{gone}, cortex-m4: 1\u202f{figures[gone] % 1000:03d}"
    ]


def test_names_are_escaped() -> None:
    page = _page(measurement("cortex-m4"), recipe="<b>&")
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_same_document_same_bytes() -> None:
    assert _page(measurement("cortex-m4")) == _page(measurement("cortex-m4"))


@pytest.mark.parametrize("index", range(8))
def test_every_series_colour_exists_in_both_schemes(index: int) -> None:
    assert len(re.findall(rf"--c{index}: #", _page(measurement("host", None)))) == 2


def test_a_search_shows_what_each_method_left() -> None:
    assert "<h2>Search</h2>" not in _page(measurement("cortex-m4"))
    points = [
        {"phase": "seed", "metric": 0.9, "costs": {"flash": 4321.0, "macs": 10.0}},
        {"phase": "pit", "metric": 0.85, "costs": {"flash": 1234.0, "macs": 5.0}},
    ]
    page = _page(measurement("cortex-m4"), training={"search": {"methods": ["pit"], "points": points}})
    assert "<h2>Search</h2>" in page
    for text in ("<th>flash</th>", "4\u202f321", "1\u202f234", "85.00\u202f%"):
        assert text in page
    checker = Checker()
    checker.feed(page)
    assert (checker.problems, checker.open) == ([], [])
