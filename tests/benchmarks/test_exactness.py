# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.exactness import agreement, differing_codes, examine, on_target
from benchmarks.exactness_training import Course, mixed_layers
from plinio_deploy.integerize import lower
from plinio_deploy.integerize.compare import input_codes
from plinio_deploy.quantization import QuantConfig, quantize
from plinio_deploy.recipe import Data, Recipe, Split
from plinio_deploy.targets import registry


class Toy(Recipe):
    """Two convolutions and a residual, on noise."""

    name = "toy"
    input_shape = (1, 6, 6)
    input_range = (0.0, 1.0)

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 10, 3), nn.Flatten(), nn.Linear(40, 3)
        )

    def data(self) -> Data:
        rng = np.random.default_rng(0)
        split = Split(rng.random((40, 1, 6, 6), dtype=np.float32), rng.integers(0, 3, 40))
        return Data(split, split, split)


def test_a_row_of_the_table() -> None:
    recipe = Toy()
    course = Course(recipe, recipe.data(), steps=2, qat_steps=1, seed=0)
    qnet = course.quantized(course.trained(), "mixed")
    row, made = examine(course, qnet, "mixed", samples=20, exact_samples=4)
    assert (row.differing_codes, row.samples, row.exact_samples) == (0, 20, 4)
    assert row.max_lsb <= 1
    assert row.max_lsb_float32 is not None
    assert row.max_lsb_float32 <= 1
    assert row.removed_channels == 4, "a fifth of each convolution's"
    codes = input_codes(made, torch.from_numpy(course.data.test.x[:2]))
    found = on_target(made.network, codes, registry.load("host"))
    assert found == {"samples": 2, "tensors": 2 * 3, "differing_tensors": 0}, "a reshape computes nothing"


def test_what_was_trained_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Toy()
    course = Course(recipe, recipe.data(), steps=2, qat_steps=2, seed=0, cache=tmp_path)
    first = course.quantized(course.trained(), "w2a8").state_dict()
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 2
    monkeypatch.setattr(Course, "train", None)  # not called again
    other = Course(recipe, recipe.data(), steps=2, qat_steps=2, seed=0, cache=tmp_path)
    again = other.quantized(other.trained(), "w2a8").state_dict()
    assert sorted(tmp_path.iterdir()) == kept
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_wrong_channel_is_counted() -> None:
    recipe = Toy()
    course = Course(recipe, recipe.data(), steps=1, qat_steps=0, seed=0)
    qnet = course.quantized(course.trained(), "mixed")
    made = lower(qnet)
    name = next(name for name in made.elements if made.network.tensors[name].channels == 8)
    made.elements[name][:] = made.elements[name][::-1].copy()
    assert differing_codes(qnet, made, torch.from_numpy(course.data.test.x[:4])) > 0


def test_mixed_layers_remove_the_smallest_channels() -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(1, 10, 1)
    model = nn.Sequential(first, nn.ReLU(), nn.Conv2d(10, 2, 1))
    with torch.no_grad():
        first.weight.copy_(torch.arange(10.0).view(10, 1, 1, 1) + 1)
    layers = mixed_layers(quantize(model, torch.zeros(1, 1, 3, 3), QuantConfig()), 0)
    bits = layers["0"].w_bits
    assert isinstance(bits, tuple)
    assert [channel for channel, width in enumerate(bits) if width == 0] == [0, 1]
    assert layers["2"].w_bits is not None
    assert 0 not in tuple(np.atleast_1d(layers["2"].w_bits))


def test_agreement_by_kind_of_network() -> None:
    recipe = Toy()
    split = Split(np.zeros((2, 1), dtype=np.float32), np.zeros(2))
    first, second = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[1.0, 2.0], [0.0, 3.0]])
    assert agreement(recipe, (first, second), split, 1.0) == 0.5
    recipe.name = "tcn"
    assert agreement(recipe, (first, second), split, 1.0) == 0.5
    assert agreement(recipe, (first, first + 1), split, 1.0) == 1.0
    recipe.name = "ad"
    labelled = Split(np.zeros((2, 1), dtype=np.float32), np.zeros((2, 3)))
    assert agreement(recipe, (first, first), labelled, 1.0) == 1.0
