# SPDX-License-Identifier: Apache-2.0
"""The reference networks as recipes: exact counts, alternatives that start from the model, folders of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plinio_deploy import SuperNet, cost
from plinio_deploy.errors import RecipeError
from plinio_deploy.recipe import BUILT_IN, load_recipe
from plinio_deploy.recipes.ad import area_under_roc
from plinio_deploy.recipes.training import load_data, make_qnet

MACS = {"digits": 115_440, "ic": 12_501_632, "kws": 2_656_768, "vww": 7_489_664, "ad": 264_192, "tcn": 4_775_984}

RNG = np.random.default_rng(0)


def small(name: str) -> dict[str, Any]:
    """A few samples as a folder for the recipe holds them."""
    if name == "kws":
        return {"mfcc": RNG.integers(-128, 128, (24, 49, 10), dtype=np.int8), "y": np.arange(24) % 12}
    if name == "ad":
        return {"x": RNG.random((24, 640), dtype=np.float32), "y": np.arange(24) % 2}
    if name == "tcn":
        return {"x": RNG.random((24, 1, 256), dtype=np.float32), "y": 60.0 + np.arange(24)}

    return {"x": RNG.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), "y": np.arange(24) % 2}


def folder(tmp_path: Path, name: str) -> Path:
    for part in ("train", "test"):
        np.savez(tmp_path / f"{name}_{part}.npz", allow_pickle=False, **small(name))
    return tmp_path


def test_every_built_in_recipe_is_listed_here() -> None:
    assert set(MACS) == set(BUILT_IN)


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates_are_exact(name: str) -> None:
    recipe = load_recipe(name)
    model = SuperNet(recipe.supernet(), cost=cost.ops_no_bias, input_shape=recipe.input_shape, full_cost=True).eval()
    assert model.cost.item() == MACS[name]


@pytest.mark.parametrize("name", MACS)
def test_the_first_alternative_is_the_model(name: str) -> None:
    recipe = load_recipe(name)
    shapes = {key: tensor.shape for key, tensor in recipe.model().state_dict().items()}
    alternatives = recipe.supernet().state_dict()
    assert shapes == {
        key.replace(".branches.0.", "."): tensor.shape
        for key, tensor in alternatives.items()
        if key.replace(".branches.0.", ".") in shapes
    }


@pytest.mark.parametrize("name", sorted(set(MACS) - {"digits"}))
def test_a_folder_is_read_and_the_model_takes_it(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, folder(tmp_path, name))
    data = load_data(recipe)
    assert data.train.x.shape[1:] == recipe.input_shape
    low, high = recipe.input_range
    assert low <= data.train.x.min() < data.train.x.max() <= high
    model = recipe.model()
    x, y = torch.from_numpy(data.train.x[:4]), torch.from_numpy(data.train.y[:4])
    moved = recipe.augment(x, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    output = model(moved)
    assert torch.isfinite(recipe.loss(output, y))
    assert 0 <= recipe.metric(output.detach().numpy(), data.train.y[:4]) <= 1
    make_qnet(recipe, model)


@pytest.mark.parametrize("name", sorted(set(MACS) - {"digits"}))
def test_without_a_folder_the_message_says_where_data_come_from(name: str) -> None:
    with pytest.raises(RecipeError, match="needs a folder of data") as caught:
        load_data(load_recipe(name))
    assert "." in str(caught.value.expected)
    assert "--data" in " ".join(caught.value.hints)
    assert "_train.npz" in " ".join(caught.value.hints)


def test_kws_has_an_output_for_each_word_of_the_folder(tmp_path: Path) -> None:
    assert load_recipe("kws", folder(tmp_path, "kws")).model()(torch.zeros(1, 1, 49, 10)).shape == (1, 12)


def test_the_folder_of_a_recipe_does_not_stay_for_the_next_one(tmp_path: Path) -> None:
    load_recipe("kws", folder(tmp_path, "kws"))
    assert load_recipe("kws").folder is None


def test_area_under_roc_counts_ties_by_half() -> None:
    positive = np.array([True, False, True, False])
    assert area_under_roc(np.array([3.0, 1.0, 2.0, 2.0]), positive) == 3.5 / 4
    assert area_under_roc(np.array([1.0, 2.0]), np.array([True, True])) == 0.5
