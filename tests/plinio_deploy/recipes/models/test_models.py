# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from plinio_deploy.recipes import models
from plinio_deploy.search import cost
from tests.search.cost.record import record

IMAGE = (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("model", "shape", "outputs", "macs"),
    [
        (models.ResNet8(), IMAGE, (1, 10), 12_501_632),
        (models.DSCNN(), (1, 1, 49, 10), (1, 12), 2_656_768),
        (models.MobileNetV1(), (1, 3, 96, 96), (1, 2), 7_489_664),
        (models.Autoencoder(), (1, 640), (1, 640), 264_192),
        (models.TCN(), (1, 1, 256), (1, 1), 4_775_984),
    ],
    ids=["ic", "kws", "vww", "ad", "tcn"],
)
def test_multiply_accumulates(model: nn.Module, shape: tuple[int, ...], outputs: tuple[int, ...], macs: int) -> None:
    assert float(cost.evaluate(cost.ops_no_bias, record(model, shape))) == macs
    with torch.no_grad():
        assert model.eval()(torch.randn(shape)).shape == outputs


def test_tcn_sees_no_later_sample() -> None:
    first = models.TCN().eval().get_submodule("blocks.0.conv1")
    x = torch.randn(1, 1, 32)
    later = x.clone()
    later[..., 20:] = 0
    with torch.no_grad():
        assert torch.equal(first(x)[..., :20], first(later)[..., :20])


def test_width_scales_every_layer() -> None:
    full = float(cost.evaluate(cost.params_no_bias, record(models.ResNet8(), IMAGE)))
    half = float(cost.evaluate(cost.params_no_bias, record(models.ResNet8(width=0.5), IMAGE)))
    assert 0.25 <= half / full <= 0.26
