# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from plinio_deploy.errors import OutputError, RecipeError
from plinio_deploy.quantization import LayerConfig
from plinio_deploy.recipe import Data, Recipe, Split
from plinio_deploy.recipes.checkpoint import read_state
from plinio_deploy.recipes.loop import Progress, evaluate, measure_metric, predict, reproducible
from plinio_deploy.recipes.training import build_model, load_data, make_qnet, recipe_config, train_float, train_qat


def split(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    x = rng.random((count, 1, 4, 4), dtype=np.float32)
    return Split(x, (x[:, 0, :2].mean((1, 2)) > x[:, 0, 2:].mean((1, 2))).astype(np.int64))


class Halves(Recipe):
    """Is the upper half of an image brighter than the lower one?"""

    name = "halves"
    source = "halves.py"
    input_shape = (1, 4, 4)
    input_range = (0.0, 1.0)
    epochs = 4
    qat_epochs = 2
    batch_size = 32

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(64, 2)
        )

    def data(self) -> Data:
        return Data(split(256, 0), split(64, 1), split(64, 2))


class Stop(Exception):
    """Raised by a callback in place of Ctrl-C."""


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_and_reports() -> None:
    seen: list[Progress] = []
    model = train_float(Halves(), progress=seen.append)
    assert not model.training
    assert [(p.phase, p.epoch, p.epochs) for p in seen] == [("float", epoch, 4) for epoch in (1, 2, 3, 4)]
    assert seen[-1].best == max(p.metric for p in seen)
    assert evaluate(Halves(), model, Halves().data().val) == seen[-1].best
    assert evaluate(Halves(), model, Halves().data().test) > 0.8


def test_the_seed_decides_everything_and_threads_nothing() -> None:
    threads = torch.get_num_threads()
    first = state(train_float(Halves(), epochs=2))
    torch.set_num_threads(2)
    torch.manual_seed(99)
    try:
        second = state(train_float(Halves(), epochs=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert equal(first, second)
    assert not equal(first, state(train_float(Halves(), epochs=2, seed=1)))


@pytest.mark.parametrize("phase", ["float", "qat"])
@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path, phase: str, stop: int) -> None:
    model = build_model(Halves())

    def train(checkpoint: Path | None, progress: Any = None) -> nn.Module:
        if phase == "float":
            return train_float(Halves(), checkpoint=checkpoint, progress=progress)
        return train_qat(Halves(), model, epochs=4, checkpoint=checkpoint, progress=progress)

    def interrupt(progress: Progress) -> None:
        if progress.epoch == stop:
            raise Stop

    expected = state(train(None))
    with pytest.raises(Stop):
        train(tmp_path / "c.safetensors", interrupt)
    seen: list[int] = []
    resumed = train(tmp_path / "c.safetensors", lambda p: seen.append(p.epoch))
    assert seen == list(range(stop + 1, 5))
    assert equal(state(resumed), expected)
    facts = read_state(tmp_path / "c.safetensors")[1]
    assert [entry["epoch"] for entry in facts["history"]] == [1, 2, 3, 4]
    assert equal(state(train(tmp_path / "c.safetensors")), expected), "a finished run is taken over as it is"


def test_a_checkpoint_of_other_settings_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    train_float(Halves(), epochs=1, checkpoint=path)
    seen: list[int] = []
    train_float(Halves(), epochs=2, checkpoint=path, progress=lambda p: seen.append(p.epoch))
    assert seen == [1, 2]


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        train_float(Halves(), epochs=1, checkpoint=tmp_path / "file" / "c.safetensors")


def test_quantization_leaves_the_float_model_alone() -> None:
    model = train_float(Halves(), epochs=1)
    before = state(model)
    qnet = train_qat(Halves(), model)
    assert equal(state(model), before)
    assert not qnet.training
    assert bool(qnet.calibrated)
    test = Halves().data().test
    assert evaluate(Halves(), qnet, test) >= evaluate(Halves(), model, test) - 0.1


def test_without_epochs_the_calibrated_network_comes_back() -> None:
    model = build_model(Halves())
    assert evaluate(Halves(), train_qat(Halves(), model, epochs=0), Halves().data().val) >= 0.0


def test_data_sets_work_as_arrays_do() -> None:
    class WithDatasets(Halves):
        def data(self) -> Data:
            parts = (split(256, 0), split(64, 1), split(64, 2))
            return Data(*(TensorDataset(torch.from_numpy(p.x), torch.from_numpy(p.y)) for p in parts))

    assert sorted(state(train_float(WithDatasets(), epochs=1))) == sorted(state(train_float(Halves(), epochs=1)))


def test_layers_of_a_recipe_reach_the_network() -> None:
    class Mixed(Halves):
        w_bits = 4

        def layers(self) -> Mapping[str, LayerConfig]:
            return {"5": LayerConfig(w_bits=2)}

    config = recipe_config(Mixed())
    assert (config.w_bits, config.a_bits, config.input_range) == (4, 8, (0.0, 1.0))
    qnet = make_qnet(Mixed(), build_model(Mixed()))
    assert {name: set(qnet.layer(name).weight_quantizer.bits) for name in qnet.layer_of} == {
        "layer_0": {4},
        "layer_5": {2},
    }


@pytest.mark.parametrize("member", ["model", "data", "loss", "metric", "layers"])
def test_whatever_a_recipe_raises_names_the_member(member: str) -> None:
    def broken(self: Recipe, *_: Any) -> None:
        raise ZeroDivisionError("oh")

    recipe = type("Broken", (Halves,), {member: broken})()
    with pytest.raises(RecipeError, match="ZeroDivisionError: oh") as caught:
        train_qat(recipe, train_float(recipe, epochs=1))
    assert f"{member}()" in str(caught.value)
    assert "halves.py" in str(caught.value)


def test_a_metric_outside_its_range_is_the_recipes_fault() -> None:
    class Percent(Halves):
        def metric(self, outputs: Any, targets: Any) -> float:
            return 97.0

    with pytest.raises(RecipeError, match="returned 97"):
        measure_metric(Percent(), np.zeros((2, 2)), np.zeros(2))


def test_data_must_be_data() -> None:
    class Wrong(Halves):
        def data(self) -> Data:
            return (1, 2, 3)  # type: ignore[return-value]

    with pytest.raises(RecipeError, match="tuple, not Data"):
        load_data(Wrong())


def test_predict_handles_several_outputs_and_restores_the_mode() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x.sum((1, 2, 3))

    model = Two().train()
    first, second = predict(model, split(10, 0), batch_size=3)
    assert (first.shape, second.shape) == ((10, 1, 4, 4), (10,))
    assert model.training


def test_reproducible_restores_everything() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with reproducible():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(7)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.rand(1), expected)


def test_progress_is_plain_data() -> None:
    assert dataclasses.asdict(Progress("qat", 1, 2, 0.5, 0.9, 0.9))["phase"] == "qat"
