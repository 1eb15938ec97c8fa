# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.errors import RecipeError
from plinio_deploy.recipe import load_recipe


def save(folder: Path, **content: np.ndarray) -> Path:
    for part in ("train", "test"):
        np.savez(folder / f"rig_{part}.npz", allow_pickle=False, **content)
    return folder


def test_training_sees_normal_samples_alone_and_validation_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 3.0, (60, 640)).astype(np.float32)
    data = load_recipe("ad", save(tmp_path, x=x, y=np.arange(60) % 3 == 0)).data()
    assert len(data.train) == 36
    assert not data.train.y[:, 0].any()
    assert set(data.val.y[:, 0]) == set(data.test.y[:, 0]) == {0.0, 1.0}
    assert np.array_equal(data.train.y[:, 1:], data.train.x), "an autoencoder is asked for its input"
    assert abs(data.train.x.mean()) < 0.01
    assert data.train.x.std() == pytest.approx(1, abs=0.05)


def test_signals_are_stretched_along_time(tmp_path: Path) -> None:
    milli = np.arange(60)[None, None].repeat(20, 0).repeat(8, 1) * np.arange(1, 21)[:, None, None] * 1000
    target = np.full((20, 5), 100)
    target[15:, 0] = 3
    data = load_recipe("ad", save(tmp_path, milli=milli.astype(np.int32), target=target.astype(np.int16))).data()
    assert data.test.x.shape == (20, 640)
    assert data.test.y[:, 0].sum() == 5
    first = data.test.x[0].reshape(8, 80)
    assert np.allclose(first, first[0])


def test_what_makes_no_640_numbers_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, x=np.zeros((4, 7, 10), np.float32), y=np.arange(4) % 2)
    with pytest.raises(RecipeError, match="640 numbers"):
        load_recipe("ad", folder).data()
