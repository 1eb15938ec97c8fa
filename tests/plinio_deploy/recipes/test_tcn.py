# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plinio_deploy.errors import RecipeError
from plinio_deploy.recipe import load_recipe
from plinio_deploy.recipes.tcn import CENTRE, SPREAD


def test_recordings_become_windows_of_known_heart_rate(tmp_path: Path) -> None:
    """A sine of one beat per second: every window holds eight of them, whatever its place."""
    time = np.arange(60 * 125 + 1) / 125
    wave = np.round(500 + 400 * np.sin(2 * np.pi * time)).astype(np.uint16)
    numerics = np.full((61, 4), 60.0, np.float32)
    numerics[40:50, 0] = np.nan
    for part, count in (("train", 16), ("test", 2)):
        np.savez(tmp_path / f"p_{part}.npz", ppg=wave[None].repeat(count, 0), numerics=numerics[None].repeat(count, 0))
    data = load_recipe("tcn", tmp_path).data()
    windows = len(range(8, 60, 2)) - 5  # ends whose rate is not known are left out
    assert data.test.x.shape == (2 * windows, 1, 256)
    assert len(data.val) == 2 * windows, "every eighth recording validates, whole"
    assert np.allclose(data.test.y, (60 - CENTRE) / SPREAD)
    spectrum = np.abs(np.fft.rfft(data.test.x[:, 0]))
    assert (spectrum.argmax(1) == 8).all()


def test_windows_of_another_size_are_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        np.savez(tmp_path / f"p_{part}.npz", x=np.zeros((4, 1, 100), np.float32), y=np.zeros(4))
    with pytest.raises(RecipeError, match="another size"):
        load_recipe("tcn", tmp_path).data()


def test_the_metric_counts_beats_per_minute() -> None:
    recipe = load_recipe("tcn")
    assert recipe.metric(np.zeros((2, 1)), np.full(2, 15 / SPREAD)) == pytest.approx(0.5)
    assert recipe.metric(np.zeros((2, 1)), np.full(2, 99.0)) == 0.0
