# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.errors import RecipeError, UsageError
from plinio_deploy.recipe import BUILT_IN, Data, Recipe, Split, blaming, load_recipe

GOOD = """
from plinio_deploy.recipe import Recipe

class Mine(Recipe):
    input_shape = (1, 8, 8)
    input_range = (0.0, 1.0)

    def model(self):
        return 1 / 0

    def data(self):
        raise ValueError("no disk")
"""


def written(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("ending", ["recipe = Mine()", "recipe = Mine", "def recipe():\n    return Mine()"])
def test_an_instance_a_class_or_a_function(tmp_path: Path, ending: str) -> None:
    recipe = load_recipe(written(tmp_path, f"{GOOD}\n{ending}\n"))
    assert recipe.name == "mine"
    assert recipe.source.endswith("mine.py")
    assert (recipe.w_bits, recipe.max_metric_drop, recipe.min_float_metric) == (8, 0.005, None)


def test_two_files_of_one_name_do_not_mix(tmp_path: Path) -> None:
    for folder, shape in (("a", "(1, 8, 8)"), ("b", "(3, 9, 9)")):
        (tmp_path / folder).mkdir()
        text = GOOD.replace("(1, 8, 8)", shape) + "\nrecipe = Mine()\n"
        assert str(load_recipe(written(tmp_path / folder, text)).input_shape) == shape


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_recipes_load(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.source == name


def test_unknown_names_suggest_known_ones() -> None:
    with pytest.raises(RecipeError, match="no such recipe") as caught:
        load_recipe("digit")
    assert "Did you mean 'digits'?" in str(caught.value)
    assert caught.value.exit_code == UsageError.exit_code
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe("nowhere/none.py")


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("x = 1\ny = 1 / 0\n", "ZeroDivisionError", "mine.py:2"),
        ("def f(:\n", "SyntaxError", "mine.py:1"),
        ("import no_such_module_at_all\n", "ModuleNotFoundError", "mine.py:1"),
        ("x = 1\n", "defines no recipe", "mine.py"),
        ("recipe = 5\n", "is no Recipe", "mine.py"),
        (f"{GOOD}\ndef recipe():\n    raise KeyError('k')\n", "KeyError", "mine.py:15"),
    ],
)
def test_bad_files_name_the_line(tmp_path: Path, text: str, message: str, where: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(written(tmp_path, text))
    assert caught.value.where is not None
    assert where in caught.value.where


@pytest.mark.parametrize("member", ["input_shape", "input_range", "model", "data"])
def test_missing_members_are_named(tmp_path: Path, member: str) -> None:
    lines = [line for line in GOOD.replace("\n        ", " ").split("\n") if member not in line]
    with pytest.raises(RecipeError, match="lacks a member") as caught:
        load_recipe(written(tmp_path, "\n".join([*lines, "recipe = Mine()"])))
    assert f"no {member}" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "member"),
    [
        ("input_shape = [8, 8]", "input_shape"),
        ("input_shape = (8, 0)", "input_shape"),
        ("input_range = (1.0, 1.0)", "input_range"),
        ("input_range = (0.0, float('inf'))", "input_range"),
        ("input_range = 'ab'", "input_range"),
        ("epochs = -1", "epochs"),
        ("batch_size = 0", "batch_size"),
        ("seed = True", "seed"),
        ("w_bits = 3", "w_bits"),
        ("lr = 0.0", "lr"),
        ("nas_lr = float('nan')", "nas_lr"),
        ("weight_decay = -1e-4", "weight_decay"),
        ("qat_norms = 'no'", "qat_norms"),
        ("linear_scales = 'layer'", "linear_scales"),
        ("distill = 1.5", "distill"),
        ("min_float_metric = 97", "min_float_metric"),
        ("max_metric_drop = -0.1", "max_metric_drop"),
        ("name = 'two words'", "name"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, line: str, member: str) -> None:
    text = GOOD.replace("    def model", f"    {line}\n\n    def model") + "\nrecipe = Mine()\n"
    with pytest.raises(RecipeError, match=f"a bad {member}") as caught:
        load_recipe(written(tmp_path, text))
    assert caught.value.expected


def test_what_members_raise_names_file_and_line(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, f"{GOOD}\nrecipe = Mine()\n"))
    with pytest.raises(RecipeError, match="ValueError: no disk") as caught, blaming(recipe.source, "data()"):
        recipe.data()
    assert caught.value.where == f"{recipe.source}:12"
    assert "data()" in str(caught.value)


def test_our_own_errors_pass_unchanged() -> None:
    with pytest.raises(UsageError, match="ours"), blaming("x.py", "data()"):
        raise UsageError("ours")


def test_the_default_metric_is_accuracy() -> None:
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert Recipe().metric(outputs, np.array([1, 0, 0, 0])) == 0.75


def test_the_default_loss_is_cross_entropy() -> None:
    import torch

    output, target = torch.tensor([[0.0, 0.0]]), torch.tensor([1])
    assert float(Recipe().loss(output, target)) == pytest.approx(np.log(2))


def test_splits_have_a_length() -> None:
    part = Split(np.zeros((3, 1), dtype=np.float32), np.zeros(3))
    assert len(part) == 3
    assert Data(part, part, part).val is part


def test_importing_recipes_does_not_import_torch() -> None:
    code = "import plinio_deploy.recipe, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
