# SPDX-License-Identifier: Apache-2.0
"""The figures of benchmarks/README.md are those of the committed results."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
MIXED = {
    "per channel, 0 to 8 bits": "channel",
    "per layer, 2 to 8 bits": "layer",
    "fixed": "fixed",
    "chain": "chain",
    "longer": "longer",
}
"""First word of the keys of a table's rows."""
FRONTS = "pareto_pit", "pareto_supernet"


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("name", "method", "title"),
    [
        ("pareto_pit", "pit", "PIT"),
        ("pareto_supernet", "supernet", "SuperNet"),
        ("pareto_supernet", "supernet-pit", "SuperNet, then PIT"),
    ],
)
def test_fronts(name: str, method: str, title: str) -> None:
    rows = result(name)["comparison"][method]["at_equal_size"]
    assert [row["size_fraction"] for row in rows] == [0.25, 0.4, 0.6]
    cells = " | ".join(f"{row['accuracy']:.1f} (+{row['gain']:.1f})" for row in rows)
    assert f"| {title} | {cells} |" in PAGE
    assert all(row["gain"] > 0 for row in rows), "each front is above uniform width"


def test_what_is_lost_at_equal_epochs() -> None:
    points = {(p["method"], str(p["setting"])): p for n in FRONTS for p in result(n)["points"]}
    seed = points.pop(("width", "1.0"))
    best = max((p for p in points.values() if p["method"] != "width"), key=lambda point: point["accuracy"])
    shown = {"pit": "PIT", "supernet": "SuperNet"}[best["method"]]
    text = f"the seed has {seed['accuracy']:.2f} %, the best of those ({shown}, {best['size_bytes'] / 1e3:.2f} kB) "
    assert text + f"{best['accuracy']:.2f} %" in PAGE


def test_a_search_towards_a_size_ends_near_it() -> None:
    (point,) = [point for point in result("pareto_pit")["points"] if point["method"] == "pit-duccio"]
    reached = point["details"]["size_bytes_before_settling"] / 1e3
    assert f"ends its search at {reached:.1f} kB" in PAGE
    assert reached == pytest.approx(24, rel=0.03)


def test_at_equal_compute() -> None:
    shown = {"width": "uniform width", "pit-priced": "PIT at", "supernet": "SuperNet at"}
    for name in ("pareto_pit_equal_compute", "pareto_supernet_equal_compute"):
        points = result(name)["points"]
        assert result(name)["equal_compute"]
        for point in points:
            (seed,) = [p for p in points if (p["method"], p["setting"], p["seed"]) == ("width", 1.0, point["seed"])]
            less = 100 * (1 - point["size_bytes"] / seed["size_bytes"])
            cells = [
                f"{shown[point['method']]} {point['setting']}",
                str(point["seed"]),
                f"{point['size_bytes'] / 1e3:.2f} kB",
                f"{less:.1f} %",
                f"{point['macs'] / 1e6:.2f} M",
                f"{point['accuracy']:.2f} %",
                f"{point['accuracy'] - seed['accuracy']:+.2f}",
            ]
            assert f"| {' | '.join(cells)} |" in PAGE


def test_mean_losses_at_equal_compute() -> None:
    lost: dict[str, list[float]] = {}
    for name in ("pareto_pit_equal_compute", "pareto_supernet_equal_compute"):
        points = result(name)["points"]
        seeds = {p["seed"]: p["accuracy"] for p in points if p["method"] == "width"}
        for point in points:
            if point["method"] != "width":
                lost.setdefault(point["setting"], []).append(seeds[point["seed"]] - point["accuracy"])
    assert {len(each) for each in lost.values()} == {3}
    pit, gentle, steep = (f"{sum(lost[name]) / 3:.2f}" for name in ("34 kB", "1, 0.2", "1, 1"))
    text = f"PIT loses {pit} points (three seeds scatter by {max(lost['34 kB']) - min(lost['34 kB']):.1f}), "
    assert f"{text}SuperNet {gentle} at 1, 0.2 and {steep} at 1, 1." in " ".join(PAGE.split())


def draws(found: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """All rows of one setting; those after the first have a ``#`` and a number behind their key."""
    return [row for each, row in found["rows"].items() if each.partition("#")[0] == key]


@pytest.mark.parametrize("name", ["accuracy_ic", "accuracy_fashion"])
def test_mixed_precision(name: str) -> None:
    found = result(name)
    assert f"{found['seed_accuracy']:.2f}" in PAGE
    for title, first in MIXED.items():
        for key in found["rows"]:
            if key.partition("-")[0] == first and "#" not in key:
                rows = draws(found, key)
                kilobytes = f"{rows[0]['weights_bytes'] / 1e3:.2f} kB"
                mean = f"{statistics.mean(row['accuracy'] for row in rows):.2f} %"
                many = f" (mean of {len(rows)})" if len(rows) > 1 else ""
                assert f"| {found['data']} | {title} | {kilobytes} | {mean}{many} |" in PAGE


@pytest.mark.parametrize("name", ["accuracy_ic", "accuracy_fashion"])
def test_what_channels_gain_at_equal_size(name: str) -> None:
    found = result(name)
    mean = {
        key: statistics.mean(row["accuracy"] for row in draws(found, key)) for key in found["rows"] if "#" not in key
    }
    against = {"channel-19.3kB": "fixed-2", "channel-19.2kB": "fixed-2", "channel-38.6kB": "fixed-4"}
    against |= {"channel-38.5kB": "fixed-4"} | {key.replace("layer", "channel"): key for key in mean if "layer" in key}
    shown = [key for key in mean if key in against]
    assert len(shown) >= 4
    for key in shown:
        size = key.removeprefix("channel-").replace("kB", " kB")
        many = {len(draws(found, each)) for each in (key, against[key])}
        assert len(many) == 1, "as many draws of both"
        gain = mean[key] - mean[against[key]]
        assert f"| {found['data']} | {size} | {against[key].partition('-')[0]} | {gain:+.2f} | {many.pop()} |" in PAGE


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("accuracy_ic_equal_compute", "fresh-17.6kB-0.4-0.15"),
        ("accuracy_ic_equal_compute", "fresh-17.6kB-1-1"),
        ("accuracy_fashion", "fresh-17.5kB-0.4-0.15"),
    ],
)
def test_a_chain_from_random_weights(name: str, key: str) -> None:
    found, converted = result(name), result(name.removesuffix("_equal_compute"))["rows"]["converted-8"]
    row, seed, before = found["rows"][key], found["seed_accuracy"], 4 * converted["weights_bytes"]
    text = " ".join(PAGE.split())
    assert f"seed of {seed:.2f} % in float ({before / 1e3:.1f} kB)" in text
    size, lost = row["weights_bytes"], seed - row["accuracy"]
    reached = f"{size / 1e3:.2f} kB (-{100 * (1 - size / before):.1f} %) at {row['accuracy']:.2f} %"
    assert f"{reached}, {lost:.2f} below it" in text


def test_exactness() -> None:
    rows = result("exactness")["rows"]
    differing = sum(row["differing_codes"] > 0 for row in rows)
    assert f"of {len(rows)} networks, {differing} have a tensor" in PAGE
    missed = {f"{row['network']} {row['precision']}": round((1 - row["agreement"]) * row["samples"]) for row in rows}
    ((which, count),) = [(name, each) for name, each in missed.items() if each]
    assert count == 1, "one decision of all, in one network"
    samples = next(row["samples"] for row in rows if f"{row['network']} {row['precision']}" == which)
    text = f"{len(rows) - 1} decide every sample alike, {which} all but {count} of {samples:,}."
    assert text in " ".join(PAGE.split())
    assert min(row["agreement"] for row in rows) >= 0.999, "what is asked of every network"
    assert max(max(row["max_lsb"], row["max_lsb_float32"]) for row in rows) == 1
    compared = [found for row in rows for found in row["targets"].values()]
    assert len(compared) == 30 * 6
    assert not any(found["differing_tensors"] for found in compared)
