# SPDX-License-Identifier: Apache-2.0
"""The interpreter against plain loops over Python integers."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy import interpreter
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Conv, Flavour, Hi32, Network, Tensor, Weights
from plinio_deploy.verify import verify
from tests.plinio_deploy.toy import toy


def codes_for(tensor: Tensor, samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(tensor.qmin, tensor.qmax + 1, (samples, *tensor.shape))


def conv_by_loops(op: Conv, source: Tensor, out: Tensor, x: np.ndarray) -> np.ndarray:
    """One sample ``(H, W, C)`` through a convolution, tap by tap, in Python integers."""
    result = np.zeros(out.shape, dtype=np.int64)
    assert isinstance(op.requant, Hi32)
    channels_out, height, width, group_in = op.weights.codes.shape
    for row, column, channel in itertools.product(*map(range, out.shape)):
        first_in = channel // (channels_out // op.groups) * group_in
        total = 0
        for dy, dx, c in itertools.product(range(height), range(width), range(group_in)):
            y = row * op.stride[0] - op.padding[0] + dy * op.dilation[0]
            z = column * op.stride[1] - op.padding[2] + dx * op.dilation[1]
            inside = 0 <= y < source.shape[0] and 0 <= z < source.shape[1]
            value = int(x[y, z, first_in + c]) if inside else source.zero_point
            total += value * int(op.weights.codes[channel, dy, dx, c])
        multiplier = int(op.requant.multiplier[channel])
        code = ((((total << op.requant.shift) + int(op.bias[channel])) * multiplier) >> 32) + out.zero_point
        result[row, column, channel] = min(max(code, op.requant.clamp[0]), op.requant.clamp[1])
    return result


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    groups=st.sampled_from([(1, 2, 3), (2, 1, 1), (2, 2, 1), (3, 1, 2)]),
    shift=st.integers(0, 3),
    seed=st.integers(0, 2**16),
)
def test_convolution_is_what_the_loops_compute(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: tuple[int, int, int],
    shift: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    count, group_in, group_out = groups
    source = Tensor("x", (5, 6, count * group_in), 4, True, 1.0, 2)
    extent = [
        (source.shape[axis] + padding[2 * axis] + padding[2 * axis + 1] - dilation[axis] * (kernel[axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis in (0, 1)
    ]
    channels = count * group_out
    out = Tensor("y", (extent[0], extent[1], channels), 8, True, 1.0, -3)
    op = Conv(
        "c",
        "x",
        "y",
        Weights(rng.integers(-8, 8, (channels, *kernel, group_in)).astype(np.int8), (4,) * channels),
        rng.integers(-500, 500, channels).astype(np.int32),
        Hi32(rng.integers(1, 2**31, channels).astype(np.int32), shift, (-100, 90)),
        stride,
        padding,
        dilation,
        count,
    )
    network = verify(Network("n", "hi32", ("x",), ("y",), {"x": source, "y": out}, (op,)))
    x = codes_for(source, 2, seed)
    got = interpreter.run(network, [x])["y"]
    for sample in range(2):
        assert np.array_equal(got[sample], conv_by_loops(op, source, out, x[sample]))


def test_every_op_of_the_toy_by_hand() -> None:
    network = toy()
    x = codes_for(network.tensors["x"], 3, 1)
    values = interpreter.run(network, [x])
    padded = values["padded"]
    assert np.array_equal(padded[:, 1:-1, 1:-1], x)
    assert set(padded[:, 0].ravel()) == {3}
    features = values["features"]
    pooled = values["pooled"]
    assert pooled[0, 0, 0, 0] == features[0, :2, :2, 0].max()
    assert pooled[1, 2, 3, 1] == features[1, 1:4, 2:5, 1].max()
    # one quantizer everywhere: (a + 1) + (b + 1) - 1, clamped
    expected = np.clip(features.astype(int) + pooled + 1, -128, 127)
    assert np.array_equal(values["total"], expected)
    assert np.array_equal(values["joined"][..., :3], values["total"])
    assert np.array_equal(values["joined"][..., 3:], features)
    window = values["joined"][2, 2:4, 3:5, 4]
    # the toy's pool folds no zero point into its bias: a plain mean, then the output's zero point
    assert values["mean"][2, 1, 1, 4] == np.floor(window.sum() / 4 + 0.5) - 1
    assert np.array_equal(values["flat"], values["coarse"].reshape(3, -1))
    assert values["coarse"].min() >= 0
    assert values["coarse"].max() <= 15


def test_the_tflite_average_counts_no_padding_and_rounds_half_away() -> None:
    network = toy("tflite")
    values = interpreter.run(network, [codes_for(network.tensors["x"], 2, 5)])
    window = values["joined"][1, 0:2, 3:5, 2]
    total = int(window.sum())
    expected = (abs(total) + 2) // 4 * (1 if total >= 0 else -1)
    assert values["mean"][1, 0, 1, 2] == expected


def test_batches_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    network = toy()
    x = codes_for(network.tensors["x"], 5, 2)
    whole = interpreter.run(network, [x])
    monkeypatch.setattr(interpreter, "CHUNK", 2)
    parts = interpreter.run(network, [x])
    for name, codes in whole.items():
        assert np.array_equal(codes, parts[name])


def test_only_what_is_wanted_is_kept() -> None:
    network = toy()
    assert list(interpreter.run(network, [codes_for(network.tensors["x"], 1, 0)], keep=("logits",))) == ["logits"]


@pytest.mark.parametrize("flavour", ["hi32", "tflite"])
def test_results_stay_in_range(flavour: Flavour) -> None:
    network = toy(flavour)
    for name, codes in interpreter.run(network, [codes_for(network.tensors["x"], 20, 3)]).items():
        tensor = network.tensors[name]
        assert codes.min() >= tensor.qmin
        assert codes.max() <= tensor.qmax


def test_wrong_inputs_are_named() -> None:
    network = toy()
    good = codes_for(network.tensors["x"], 1, 0)
    with pytest.raises(UsageError, match="wrong number of inputs"):
        interpreter.run(network, [])
    with pytest.raises(UsageError, match="wrong shape"):
        interpreter.run(network, [good[:, :2]])
    with pytest.raises(UsageError, match="out of range"):
        interpreter.run(network, [good + 200])


def test_an_unverified_network_cannot_overflow_unnoticed() -> None:
    network = toy()
    stem = network.ops[1]
    assert isinstance(stem, Conv)
    broken = dataclasses.replace(stem, bias=np.full(3, 2**31 - 1, dtype=np.int32))
    ops = tuple(broken if op is stem else op for op in network.ops)
    with pytest.raises(OverflowError, match="stem"):
        interpreter.run(dataclasses.replace(network, ops=ops), [np.full((1, 4, 5, 2), 255)])
