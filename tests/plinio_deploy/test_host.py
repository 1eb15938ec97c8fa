# SPDX-License-Identifier: Apache-2.0
"""Real numbers to codes and back."""

from __future__ import annotations

import numpy as np
import pytest

from plinio_deploy import host
from plinio_deploy.network import Tensor

INPUT = Tensor("x", (2, 1, 3), 8, True, 0.5, -3)


def test_quantize_rounds_half_to_even_and_saturates() -> None:
    values = np.array([0.25, 0.75, 1.25, -100.0, 100.0, 0.0]).reshape(1, 2, 1, 3)
    assert host.quantize(INPUT, values).ravel().tolist() == [-3, -1, -1, -128, 127, -3]


def test_dequantize_is_the_inverse_on_the_grid() -> None:
    codes = np.arange(-128, 128)
    assert np.array_equal(host.quantize(INPUT, host.dequantize(INPUT, codes)), codes)


def test_channels_move_last() -> None:
    values = np.arange(6).reshape(1, 3, 2, 1)
    assert host.nchw_to_nhwc(values, (2, 1, 3)).ravel().tolist() == [0, 2, 4, 1, 3, 5]


def test_one_dimensional_signals_get_a_height_of_one() -> None:
    assert host.nchw_to_nhwc(np.zeros((5, 3, 7)), (1, 7, 3)).shape == (5, 1, 7, 3)


def test_a_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        host.nchw_to_nhwc(np.zeros((1, 3, 2, 2)), (2, 1, 3))
