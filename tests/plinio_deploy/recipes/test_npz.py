# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ci.tree import ROOT
from plinio_deploy.errors import RecipeError
from plinio_deploy.recipes import npz


def code_planes(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The other direction of `npz.decode_planes`."""
    planes = image.transpose(3, 0, 1, 2).copy()
    planes[0] -= planes[1]
    planes[2] -= planes[1]
    return np.diff(np.diff(planes, axis=-1, prepend=np.uint8(0)), axis=-2, prepend=np.uint8(0))


def code_differences(x: npt.NDArray[np.int16]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The other direction of `npz.decode_differences`."""
    twice = np.diff(np.diff(x, axis=-1, prepend=np.int16(0)), axis=-1, prepend=np.int16(0))
    zigzag = (twice.view(np.uint16) << 1) ^ (twice >> 15).view(np.uint16)
    return (zigzag >> 8).astype(np.uint8), (zigzag & 255).astype(np.uint8)


@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_planes_come_back(image: npt.NDArray[np.uint8]) -> None:
    assert np.array_equal(npz.decode_planes(code_planes(image)), image)


@given(arrays(np.int16, st.tuples(st.integers(1, 3), st.integers(1, 9))))
def test_differences_come_back(x: npt.NDArray[np.int16]) -> None:
    assert np.array_equal(npz.decode_differences(*code_differences(x)), x)


def save(folder: Path, name: str, **content: npt.NDArray[Any]) -> None:
    np.savez(folder / f"{name}.npz", **content)  # type: ignore[arg-type]


def images(count: int, value: int = 0) -> npt.NDArray[np.uint8]:
    return np.full((count, 3, 4, 3), value, np.uint8)


def test_parts_are_joined_in_order_and_validation_is_stratified(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(2, dtype=np.uint8), 20)
    for number in range(11):
        save(tmp_path, f"toy_train_{number}", p=code_planes(images(40, number)), y=labels)
    save(tmp_path, "toy_test", p=code_planes(images(5, 255)), y=np.zeros(5, np.uint8))
    data = npz.load(tmp_path, val_fraction=0.25)
    assert data.train.x.shape == (330, 3, 3, 4)
    assert data.val.x.shape == (110, 3, 3, 4)
    assert np.bincount(data.val.y).tolist() == [55, 55]
    assert data.train.x.dtype == np.float32
    assert np.all(np.diff(data.train.x[:, 0, 0, 0]) >= 0)
    assert data.test.x.min() == data.test.x.max() == 1
    assert data.test.y.dtype == np.int64
    again = npz.load(tmp_path, val_fraction=0.25)
    assert np.array_equal(data.val.x, again.val.x)


def test_a_validation_file_is_used_and_eval_means_test(tmp_path: Path) -> None:
    for part, count in [("train", 8), ("val", 3), ("eval", 2)]:
        save(tmp_path, f"kws_{part}", mfcc=np.full((count, 5, 2), -128, np.int8), y=np.arange(count))
    data = npz.load(tmp_path)
    assert [len(split) for split in (data.train, data.val, data.test)] == [8, 3, 2]
    assert data.train.x.shape == (8, 1, 5, 2)
    assert data.train.x.min() == -1


def test_signals_and_vectors_keep_their_axes() -> None:
    assert npz.as_input(np.zeros((2, 8, 60), np.float32)).shape == (2, 8, 60)
    assert npz.as_input(np.zeros((2, 640), np.int8)).shape == (2, 640)
    assert npz.as_input(np.full((1, 4), -32768, np.int16)).max() == -1


def test_several_families_need_a_name(tmp_path: Path) -> None:
    for family in ("a", "b"):
        for part in ("train", "test"):
            save(tmp_path, f"{family}_{part}", x=np.zeros((4, 2, 2), np.uint8), y=np.zeros(4, np.uint8))
    with pytest.raises(RecipeError, match="one family") as caught:
        npz.load(tmp_path)
    assert caught.value.got == "a, b"
    assert len(npz.load(tmp_path, family="b", val_fraction=0.5).val) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"z": np.zeros(3), "y": np.zeros(3)}, "holds no samples"),
        ({"x": np.zeros((3, 2))}, "needs a label y"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "needs a label y"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: dict[str, npt.NDArray[Any]], words: str) -> None:
    save(tmp_path, "a_train", **content)
    save(tmp_path, "a_test", **content)
    with pytest.raises(RecipeError, match=words) as caught:
        npz.load(tmp_path)
    assert caught.value.where == str(tmp_path / "a_train.npz")


def test_missing_folder_or_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such data folder"):
        npz.load(tmp_path / "none")
    with pytest.raises(RecipeError, match="one family") as caught:
        npz.load(tmp_path)
    assert caught.value.got == "none"


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("mnist", 10_000, 8_000), ("fashion_mnist", 20_000, 8_000), ("cifar100_person", 3_200, 640)],
)
def test_real_images_beside_the_checkout(name: str, train: int, test: int) -> None:
    folder = ROOT.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no data set {name} beside the checkout")
    data = npz.load(folder)
    assert (len(data.train.x) + len(data.val.x), len(data.test.x)) == (train, test)
    assert data.test.x.dtype == np.float32
    assert (data.test.x.min(), data.test.x.max()) == (0.0, 1.0)
    # Real pixels have likely neighbours: a wrong decoder makes noise of them.
    assert np.abs(np.diff(data.test.x, axis=-1)).mean() < 0.15
