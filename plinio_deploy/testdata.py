# SPDX-License-Identifier: Apache-2.0
"""The test set as codes, and the recipe's metric, as the integerize stage leaves them beside the network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from plinio_deploy.errors import AccuracyTooLow, InvalidNetwork
from plinio_deploy.packing import CodeArray

DATA_FILE = "test_data.npz"
METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class Metrics:
    """The recipe's metric, as the integerize stage computed it with torch, and the bars it must pass.

    Attributes:
        in_float: of the float network on the test set, in [0, 1].
        in_integers: of the integer network (the interpreter's codes, dequantized).
        min_float: the least float metric that the recipe accepts, if it says.
        max_drop: how far the integer metric may lie below the float one.
        in_seed: of the float network that a search started from; ``in_float`` is then that of the fake-quantized
            network which it ended with, and the bar is for this one. ``None`` without a search.
    """

    in_float: float
    in_integers: float
    min_float: float | None
    max_drop: float
    in_seed: float | None = None

    def check(self) -> None:
        """Compare with the bars.

        Raises:
            AccuracyTooLow: the float network is too weak, or integers cost too much.
        """
        trained = self.in_float if self.in_seed is None else self.in_seed
        if self.min_float is not None and trained < self.min_float:
            raise AccuracyTooLow(
                "the float network misses the recipe's bar",
                where="min_float_metric of the recipe",
                got=f"{trained:.4f}",
                expected=f"at least {self.min_float:.4f}",
                hints=("train longer (epochs), or lower min_float_metric",),
            )
        if self.in_float - self.in_integers > self.max_drop + 1e-9:
            raise AccuracyTooLow(
                "the integer network loses too much accuracy",
                where="max_metric_drop of the recipe",
                got=f"{self.in_integers:.4f} (float {self.in_float:.4f}): {self.in_float - self.in_integers:.4f} lost",
                expected=f"a drop of at most {self.max_drop:.4f}",
                hints=("train longer with quantizers (qat_epochs)", "check the recipe's input_range"),
            )


@dataclass(frozen=True)
class TestData:
    """The test set as the device gets it.

    Attributes:
        codes: one ``(N, *shape)`` array per network input.
        labels: the recipe's test targets, for whoever reads the file; not used in the comparison.
    """

    __test__ = False  # not a pytest class

    codes: tuple[CodeArray, ...]
    labels: npt.NDArray[Any]

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.codes[0].shape[0])

    def digest(self) -> str:
        """SHA-256 (hex) of the codes."""
        state = hashlib.sha256()
        for codes in self.codes:
            state.update(repr(codes.shape).encode() + np.ascontiguousarray(codes, dtype="<i4").tobytes())
        return state.hexdigest()

    def head(self, count: int) -> TestData:
        """The first samples only."""
        return TestData(tuple(codes[:count] for codes in self.codes), self.labels[:count])


def save_test_data(folder: Path, data: TestData, metrics: Metrics) -> None:
    """Write `DATA_FILE` and `METRICS_FILE`."""
    arrays = {f"input_{index}": codes.astype(np.int16) for index, codes in enumerate(data.codes)}
    with (folder / DATA_FILE).open("wb") as stream:
        np.savez(stream, allow_pickle=False, labels=data.labels, **arrays)
    (folder / METRICS_FILE).write_text(json.dumps(vars(metrics), indent=2) + "\n", encoding="utf-8")


def load_test_data(folder: Path) -> tuple[TestData, Metrics]:
    """Read what `save_test_data` wrote.

    Raises:
        InvalidNetwork: a file is missing or damaged.
    """
    try:
        with (folder / DATA_FILE).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            count = sum(name.startswith("input_") for name in arrays.files)
            codes = tuple(arrays[f"input_{index}"].astype(np.int32) for index in range(count))
            data = TestData(codes, arrays["labels"])
        metrics = Metrics(**json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile) as error:
        raise InvalidNetwork(
            "the test data beside the network cannot be read",
            where=str(folder),
            got=f"{type(error).__name__}: {error}",
            hints=("make it again: plinio-deploy integerize RECIPE",),
        ) from error
    return data, metrics
