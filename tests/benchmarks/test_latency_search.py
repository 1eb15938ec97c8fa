# SPDX-License-Identifier: Apache-2.0
"""What the benchmark compares and how, and that its committed result says what the README claims."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from plinio_deploy import PIT, cost
from plinio_deploy.recipes.digits import DigitsNet

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    specification = importlib.util.spec_from_file_location("latency_search", FOLDER / "latency_search.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["latency_search"] = module  # where its dataclasses are looked for
    specification.loader.exec_module(module)
    return module


def point(benchmark: ModuleType, objective: str, width: float, seed: int, accuracy: float, cycles: int) -> Any:
    return benchmark.Point(objective, width, seed, accuracy, cycles, 0.0, 0, 0, [])


def test_objectives_are_compared_on_the_line_through_their_means(benchmark: ModuleType) -> None:
    points = [
        point(
            benchmark, name, width, seed, accuracy + (1 if seed else -1), round(scale * cycles) + (50 if seed else -50)
        )
        for name, scale in (("latency", 1.0), ("ops", 1.25), ("params", 2.0))
        for width, accuracy, cycles in ((0.4, 90.0, 1000), (0.5, 94.0, 2000), (0.6, 93.0, 3000))
        for seed in (0, 1)
    ]
    found = benchmark.compare(points, ["latency", "ops", "params"])
    assert [row["accuracy"] for row in found["at_equal_accuracy"]] == [90, 91, 92, 93, 94]
    assert found["at_equal_accuracy"][1]["cycles"] == {"latency": 1250, "ops": 1562, "params": 2500}
    assert found["mean_saved_percent"] == {"ops": 20.0, "params": 50.0}
    # A budget that one of the seeds does not have yet is left out.
    assert len(benchmark.means(points[:-1], "params")) == 2
    assert benchmark.compare([p for p in points if p.objective == "latency"], ["latency", "ops"]) == {}


def test_a_budget_is_the_cost_of_the_network_with_fewer_channels_everywhere(benchmark: ModuleType) -> None:
    nas = PIT(DigitsNet(), cost={"macs": cost.ops_no_bias}, input_shape=(1, 8, 8), full_cost=True)
    before = [parameter.clone() for parameter in nas.nas_parameters()]
    assert benchmark.narrowed(nas, "macs", 1.0) == 115_440
    half = 64 * 9 * 6 + 64 * 9 * 6 + 64 * 6 * 12 + 16 * 12 * 12 * 9 + 12 * 10
    assert benchmark.narrowed(nas, "macs", 0.5) == half
    assert all(torch.equal(a, b) for a, b in zip(before, nas.nas_parameters(), strict=True))
    assert not nas.discrete_cost


@pytest.mark.qemu
def test_a_search_on_the_table_ends_in_its_budget_and_is_measured(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "found.json"
    monkeypatch.setattr(
        sys, "argv", ["latency_search.py", "--widths", "0.5", "--epochs-scale", "0.05", "--out", str(out)]
    )
    benchmark.main()
    found = json.loads(out.read_text(encoding="utf-8"))
    seed, latency, ops, params = found["points"]
    assert [p["objective"] for p in found["points"]] == ["seed", "latency", "ops", "params"]
    assert all(p["measured"] < 0.75 * seed["measured"] for p in (latency, ops, params))
    nas = PIT(DigitsNet(), cost={"latency": cost.latency("cortex-m4")}, input_shape=(1, 8, 8), full_cost=True)
    assert latency["predicted"] <= benchmark.narrowed(nas, "latency", 0.5) + 1
    assert all(channels % 4 == 0 for channels in latency["channels"][1:])  # of the kernels; nobody told the search
    assert ops["macs"] <= 32_376
    assert params["weights"] < 1_700  # 1,596 with half the channels, and biases count as well


def test_the_committed_result_holds_what_is_claimed() -> None:
    found = json.loads((FOLDER / "results" / "latency_search.json").read_text(encoding="utf-8"))
    saved = found["comparison"]["mean_saved_percent"]
    assert saved["ops"] > 4
    page = " ".join((FOLDER.parent / "targets" / "README.md").read_text(encoding="utf-8").split())
    stated = "end with {ops} % fewer measured cycles than those that count operations, and with {params} % fewer than"
    assert stated.format(**saved) in page
    images = json.loads((FOLDER / "results" / "latency_search_cifar10.json").read_text(encoding="utf-8"))
    stated = "the table saves {ops} % over operations and {params} % over parameters"
    assert stated.format(**images["comparison"]["mean_saved_percent"]) in page
    assert saved["params"] > 10
    assert len(found["seeds"]) == 3
    assert len(found["points"]) == 3 * (1 + 3 * len(found["widths"]))
