# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.console import Terminal
from plinio_deploy.errors import RecipeError
from plinio_deploy.pipeline import train
from plinio_deploy.pipeline.request import Request, Training
from plinio_deploy.pipeline.stage import Record
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.recipe import Data, Split

TINY = Path(__file__).with_name("tiny_recipe.py")
QUIET = Terminal(-1)


def _request(out: Path, recipe: Path = TINY, **training: int) -> Request:
    return Request(Workspace(out), str(recipe), training=Training(**training))  # type: ignore[arg-type]


def _train(request: Request) -> Record:
    return train.run(request.workspace.train, train.prepare(request, QUIET), QUIET)


def _bytes(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes() for path in (out / "train").rglob("*") if path.is_file()
    }


def test_trains_once_and_then_keeps(tmp_path: Path) -> None:
    request = _request(tmp_path / "out")
    first = _train(request)
    assert not first.kept
    assert _train(request).kept
    assert first.facts["epochs"] == 3
    assert [entry["phase"] for entry in first.facts["history"]] == ["float"] * 3 + ["qat"]
    assert 0 <= first.facts["float_metric"] <= 1
    assert set(first.outputs) == {train.FLOAT_WEIGHTS, train.QUANTIZED_WEIGHTS}


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_interrupted_training_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    from plinio_deploy.recipes import loop as loops

    straight, broken = tmp_path / "straight", tmp_path / "broken"
    _train(_request(straight))
    epochs = 0
    train_epoch = loops.Loop.train_epoch

    def stopping(loop: loops.Loop) -> float:
        nonlocal epochs
        if epochs == stop_after:
            raise KeyboardInterrupt
        epochs += 1
        return train_epoch(loop)

    monkeypatch.setattr(loops.Loop, "train_epoch", stopping)
    if stop_after < 4:
        with pytest.raises(KeyboardInterrupt):
            _train(_request(broken))
        epochs = -99
    again = 0

    def counting(loop: loops.Loop) -> float:
        nonlocal again
        again += 1
        return train_epoch(loop)

    monkeypatch.setattr(loops.Loop, "train_epoch", counting)
    _train(_request(broken))
    assert again == 4 - stop_after if stop_after < 4 else again == 4
    assert _bytes(broken) == _bytes(straight)


def test_settings_and_source_decide_whether_it_is_kept(tmp_path: Path) -> None:
    recipe = Path(shutil.copy(TINY, tmp_path / "mine.py"))
    _train(_request(tmp_path / "out", recipe, epochs=0, qat_epochs=0))
    assert _train(_request(tmp_path / "out", recipe, epochs=0, qat_epochs=0)).kept
    assert not _train(_request(tmp_path / "out", recipe, epochs=0, qat_epochs=0, seed=5)).kept
    recipe.write_text(recipe.read_text() + "\n# another line\n")
    assert not _train(_request(tmp_path / "out", recipe, epochs=0, qat_epochs=0, seed=5)).kept


def test_modules_beside_the_recipe_count_as_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_layers.py").write_text("WIDTH = 4\n")
    recipe = tmp_path / "mine.py"
    recipe.write_text("import my_layers\n" + TINY.read_text().replace("from __future__ import annotations\n", ""))
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest() -> str:
        return train.prepare(_request(tmp_path / "out", recipe, epochs=0), QUIET).inputs["recipe"]

    before = digest()
    (tmp_path / "my_layers.py").write_text("WIDTH = 5\n")
    after = digest()
    sys.modules.pop("my_layers", None)
    assert before != after


def test_data_digest_follows_the_arrays() -> None:
    def data(value: float) -> Data:
        split = Split(np.full((2, 1), value, np.float32), np.zeros(2))
        return Data(split, split, split)

    assert train._data_digest(data(1.0)) == train._data_digest(data(1.0))
    assert train._data_digest(data(1.0)) != train._data_digest(data(2.0))
    assert train._data_digest(Data([1], [2], [3])) != train._data_digest(Data([1, 1], [2], [3]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("(1, 4, 4)", "(1, 5, 5)"), "the data do not have the recipe's input_shape"),
        (lambda text: text.replace("nn.Linear(16, 2)", "nn.Linear(15, 2)"), "mat1 and mat2|shapes|Linear"),
        (lambda text: text + "\nTiny.loss = lambda self, output, target: output.nonsense()\n", "nonsense"),
        (lambda text: text + "\nTiny.metric = lambda self, outputs, targets: 7.0\n", "not in"),
    ],
)
def test_parts_that_do_not_fit_are_found_before_training(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    recipe = tmp_path / "mine.py"
    recipe.write_text(change(TINY.read_text()))
    with pytest.raises(RecipeError, match=message):
        train.prepare(_request(tmp_path / "out", recipe), QUIET)
    assert not (tmp_path / "out").exists()
