# SPDX-License-Identifier: Apache-2.0
"""Data sets as folders of npz files.

The format, in short: ``<anything>_train.npz``, ``_val.npz`` and ``_test.npz`` (or ``_eval.npz``); a part that is split
over several files has ``_0``, ``_1``, ... behind it. Each file holds labels ``y`` (N, ...) and the samples under one of
these keys:

=============  =====================================================================================================
``x``          samples as they are: grey images (N, H, W), colour images (N, H, W, C), signals (N, C, L), vectors (N, F)
``p``          colour images (3, N, H, W) uint8, coded by plane prediction (see `decode_planes`)
``hi``, ``lo`` 16-bit signals (N, L), coded by second differences (see `decode_differences`)
``mfcc``       features (N, T, F) int8, an image of one channel
=============  =====================================================================================================

Other keys are left alone. Without a ``_val`` file a part of the training data, stratified by label, is set aside. Where
a folder holds several families of files (``asc_mfcc_*`` and ``asc_raw_*``), name one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plinio_deploy.errors import RecipeError
from plinio_deploy.recipe import Data, Split

_NAME = re.compile(r"(?P<family>.+)_(?P<part>train|val|test|eval)(_(?P<number>\d+))?")

SCALES: Mapping[str, float] = {"uint8": 1 / 255, "int8": 1 / 128, "uint16": 1 / 65535, "int16": 1 / 32768}
"""Integers are scaled to [0, 1], or [-1, 1) where they are signed; real numbers stay as they are."""

Array = npt.NDArray[Any]


def decode_planes(coded: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undo plane prediction: differences along both spatial axes, red and blue as differences to green, modulo 256.

    Args:
        coded: (3, N, H, W).

    Returns:
        (N, H, W, 3), red first.
    """
    planes = np.cumsum(np.cumsum(coded, -1, dtype=np.uint8), -2, dtype=np.uint8)
    planes[0] += planes[1]
    planes[2] += planes[1]
    return np.ascontiguousarray(planes.transpose(1, 2, 3, 0))


def decode_differences(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Undo second differences: bytes to zigzag codes, to signed numbers, summed twice along the last axis; wraps."""
    zigzag = (high.astype(np.uint16) << 8) | low
    signed = ((zigzag >> 1) ^ (0 - (zigzag & 1)).astype(np.uint16)).astype(np.int16)
    return np.cumsum(np.cumsum(signed, -1, dtype=np.int16), -1, dtype=np.int16)


def samples(file: Mapping[str, Array], where: str) -> Array:
    """The samples of one file, decoded, as they were stored: images (N, H, W, C) or (N, H, W).

    Raises:
        RecipeError: the file has none of the known keys.
    """
    if "p" in file:
        return decode_planes(file["p"])
    if "hi" in file and "lo" in file:
        return decode_differences(file["hi"], file["lo"])
    for key in ("x", "mfcc"):
        if key in file:
            return file[key]
    raise RecipeError(
        "a data file holds no samples", where=where, got=", ".join(sorted(file)), expected="x, p, mfcc, or hi and lo"
    )


def as_input(raw: Array) -> npt.NDArray[np.float32]:
    """Samples as torch wants them: float32, channels first, integers scaled (see `SCALES`).

    A last axis of 3 behind two others is taken for the colours of an image, three axes without it for grey images. Two
    axes stay: vectors. Signals (N, C, L) with real numbers stay too.
    """
    scale = SCALES.get(str(raw.dtype))
    x = raw.astype(np.float32) * np.float32(1.0 if scale is None else scale)
    if x.ndim == 4:
        x = x.transpose(0, 3, 1, 2)
    elif x.ndim == 3 and raw.dtype in (np.uint8, np.int8):
        x = x[:, np.newaxis]
    return np.ascontiguousarray(x)


def load(folder: Path | str, family: str | None = None, val_fraction: float = 0.1, seed: int = 0) -> Data:
    """Read a folder into training, validation and test `Split`s.

    Args:
        folder: see the module's text for what it holds.
        family: what file names have before ``_train``; needed only where there are several.
        val_fraction: of the training data, where there is no validation file.
        seed: of that split.

    Raises:
        RecipeError: no such folder, no or several families, a part is missing, a file holds no samples or labels.
    """
    parts = _parts(Path(folder), family)
    train, test = (_read(parts[part]) for part in ("train", "test"))
    if "val" in parts:
        return Data(train, _read(parts["val"]), test)
    chosen = _stratified(train.y, val_fraction, seed)
    return Data(Split(train.x[~chosen], train.y[~chosen]), Split(train.x[chosen], train.y[chosen]), test)


def families(folder: Path | str) -> list[str]:
    """What file names of a folder have before ``_train``, where there is a ``_test`` too; sorted."""
    return sorted(_whole(Path(folder)))


def files(folder: Path | str, part: str, family: str | None = None) -> list[Path]:
    """The files of one part, ``train`` or ``test``, in order; for recipes that read them in their own way.

    Raises:
        RecipeError: see `load`.
    """
    return _parts(Path(folder), family)[part]


def classes(folder: Path | str, family: str | None = None) -> int:
    """One more than the largest label of a folder's training data; reads nothing else.

    Raises:
        RecipeError: see `load`.
    """
    largest = 0
    for path in _parts(Path(folder), family)["train"]:
        with np.load(path, allow_pickle=False) as file:
            largest = max(largest, int(file["y"].max()))
    return largest + 1


def _parts(folder: Path, family: str | None) -> dict[str, list[Path]]:
    whole = _whole(folder)
    names = [family] if family is not None else list(whole)
    if len(names) != 1 or names[0] not in whole:
        raise RecipeError(
            "a data folder must hold one family of _train and _test files, or one must be named",
            where=str(folder),
            got=", ".join(sorted(whole)) or "none" if family is None else family,
            expected="one of " + ", ".join(sorted(whole)) if whole else "<name>_train.npz and <name>_test.npz",
        )
    return whole[names[0]]


def _whole(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Files of each family that has training and test data, by part."""
    if not folder.is_dir():
        raise RecipeError("there is no such data folder", where=str(folder), hints=["Check the path after --data."])
    found: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(folder.glob("*.npz"), key=_order):
        match = _NAME.fullmatch(path.stem)
        if match is not None:
            part = "test" if match["part"] == "eval" else match["part"]
            found.setdefault(match["family"], {}).setdefault(part, []).append(path)
    return {name: parts for name, parts in found.items() if {"train", "test"} <= set(parts)}


def _order(path: Path) -> tuple[str, int]:
    match = _NAME.fullmatch(path.stem)
    return (path.stem if match is None else match["family"] + match["part"], int(match["number"] or 0) if match else 0)


def _read(paths: list[Path]) -> Split:
    x, y = [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
        raw = samples(content, str(path))
        labels = content.get("y")
        if labels is None or len(labels) != len(raw):
            got = "none" if labels is None else f"{len(labels)} labels for {len(raw)} samples"
            raise RecipeError("a data file needs a label y for each sample", where=str(path), got=got)
        x.append(as_input(raw))
        y.append(labels.astype(np.int64) if np.issubdtype(labels.dtype, np.integer) else labels)
    return Split(np.concatenate(x), np.concatenate(y))


def _stratified(y: Array, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which samples to set aside: the same fraction of each label."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(y), dtype=np.bool_)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        chosen[rng.choice(members, round(fraction * len(members)), replace=False)] = True
    return chosen
