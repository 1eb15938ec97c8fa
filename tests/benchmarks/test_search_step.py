# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures what it says; how long that takes is not looked at."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from plinio_deploy import SuperNet
from plinio_deploy.search.methods.supernet import selection

PATH = Path(__file__).parents[2] / "benchmarks" / "search_step.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    specification = importlib.util.spec_from_file_location("search_step", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_there_are_four_alternatives_in_the_place_of_seven_convolutions(benchmark: ModuleType) -> None:
    nas = benchmark.build("supernet_sampled")
    assert isinstance(nas, SuperNet)
    choices = [choice for _, choice in nas.named_choices()]
    assert len(choices) == benchmark.PLACES
    assert all(len(choice) == benchmark.BRANCHES and choice.single_path for choice in choices)
    mixed = benchmark.build("supernet_mixed")
    assert not any(choice.single_path for _, choice in mixed.named_choices())
    x = torch.randn(2, *benchmark.SHAPE)
    assert mixed(x).shape == (2, 10)


def test_draws_are_spread_evenly(benchmark: ModuleType) -> None:
    theta = torch.full((4,), 0.25)
    with benchmark.balanced(8):
        drawn = [[selection.draw(theta) for _place in range(7)] for _step in range(8)]
        assert selection.draw(theta, other_than=2)[0] != 2
    for place in range(7):
        assert Counter(step[place][0] for step in drawn) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert all(chance == 0.25 for step in drawn for _, chance in step)
    with pytest.raises(ValueError, match="evenly"), benchmark.balanced(6):
        pass


def test_a_step_trains_weights_and_search(benchmark: ModuleType) -> None:
    for name in ("plain", *benchmark.METHODS, *benchmark.EXTRA):
        step = benchmark.Step(name, batch=4)
        before = [p.detach().clone() for p in step.model.parameters()]
        with benchmark.balanced(4):
            step()
        moved = [not torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True)]
        assert sum(moved) > 10, name


def test_looking_cycles_up_is_a_part_of_a_step(benchmark: ModuleType) -> None:
    found = benchmark.lookups(["pit"], rounds=1, batch=8)
    assert list(found) == ["pit"]
    assert found["pit"] > 0


def test_memory_is_counted_from_after_the_imports(benchmark: ModuleType) -> None:
    held: list[Tensor] = []
    before = benchmark.highest()
    while benchmark.highest() == before:  # what earlier tests freed is used first
        held.append(torch.ones(2**20))
    before = benchmark.highest()
    held.append(torch.ones(8 * 2**20))
    assert 32_000 < benchmark.highest() - before < 40_000


@pytest.mark.slow
def test_it_prints_one_object_of_ratios() -> None:
    command = [sys.executable, str(PATH), "--json", "--rounds", "1", "--steps", "4", "--batch", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    keys = ["pit", "supernet_sampled", "supernet_mixed", "qat8", "mps_layer", "mps_channel", "mps_prune"]
    assert list(found) == [*keys, "peak_memory", "latency_lookup"]
    assert list(found["latency_lookup"]) == ["pit", "mps_layer", "mps_channel"]
    assert list(found["peak_memory"]) == keys
    assert all(isinstance(value, float) for value in (*found["peak_memory"].values(), *(found[key] for key in keys)))
