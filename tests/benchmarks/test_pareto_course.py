# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.pareto_course import Budget, Course, layout, plain_optimizer, price_of
from plinio_deploy import PIT, cost

BUDGET = Budget(None, None, 2, (1.0,), batch=8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve images to train on and four to test on, of noise."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        x = rng.integers(0, 255, (count, 3, 32, 32)).astype(np.uint8)
        np.savez(folder / f"toy_{part}.npz", x=x, y=np.arange(count) % 10)
    return folder


def test_a_trained_seed_is_kept(data: Path, tmp_path: Path) -> None:
    course = Course(data, BUDGET, 0, "cpu", tmp_path / "cache")
    seed = course.trained()
    again = Course(data, BUDGET, 0, "cpu", tmp_path / "cache").trained()
    assert all(torch.equal(a, b) for a, b in zip(seed.parameters(), again.parameters(), strict=True))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_phases_take_an_epoch_at_least(data: Path) -> None:
    assert Course(data, replace(BUDGET, epochs=24), 0, "cpu").ends(0.05, 0.2) == [1, 5]
    assert Course(data, BUDGET, 0, "cpu").ends(0.1, 0.14, 0.6) == [1, 2, 3]


def test_at_equal_compute_a_network_that_takes_less_is_trained_for_longer(data: Path) -> None:
    course = Course(data, BUDGET, 0, "cpu", equal_compute=True)
    seed, narrow = course.network(), course.network(0.5)
    assert course.share(seed) == 1
    less = course.costs(narrow)["macs"] / course.costs(seed)["macs"]
    assert course.share(narrow) == pytest.approx(less)
    rates: list[float] = []
    optimizer = plain_optimizer(narrow)
    count = course.fit(narrow, 1, 2, optimizer, each=lambda _: rates.append(optimizer.param_groups[0]["lr"]))
    assert count == int(1 / less) == len(rates)
    assert rates[1:] == sorted(rates[1:], reverse=True), "the cosine is of the budget, however many epochs that is"
    assert Course(data, BUDGET, 0, "cpu").share(narrow) == 1


def test_counting_leaves_random_numbers_alone(data: Path) -> None:
    course = Course(data, BUDGET, 0, "cpu", equal_compute=True)
    narrow = course.network(0.5)
    before = torch.get_rng_state()
    course.share(narrow)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_under_search_counts_as_the_seed(data: Path) -> None:
    course = Course(data, BUDGET, 0, "cpu", equal_compute=True)
    nas = PIT(course.network(0.5), cost=cost.params, input_shape=course.shape)
    assert course.share(nas) == 1


def test_channels_lie_last_only_where_their_numbers_are_regular(data: Path) -> None:
    course = Course(data, BUDGET, 0, "cpu")
    seen = []
    for width, expected in ((1.0, torch.channels_last), (0.35, torch.contiguous_format)):
        model = course.network(width)
        model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        assert layout(model) is expected
        course.fit(model, 0, 1, plain_optimizer(model))
        assert seen.pop().is_contiguous(memory_format=expected)


def test_prices_add_up_relative_to_the_seed(data: Path) -> None:
    course = Course(data, BUDGET, 0, "cpu")
    nas = PIT(course.network(), cost={"size": cost.params_bit, "macs": cost.ops_no_bias}, input_shape=course.shape)
    assert price_of(size=0.5, macs=0.25)(nas).item() == pytest.approx(0.75)
    assert price_of(size=0.5, macs=0.0)(nas).item() == pytest.approx(0.5)
