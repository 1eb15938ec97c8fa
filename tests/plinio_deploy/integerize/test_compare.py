# SPDX-License-Identifier: Apache-2.0
"""The comparison sees a wrong code, a wrong permutation and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from plinio_deploy.integerize import lower
from plinio_deploy.integerize.compare import compaction_differences, layer_differences, trace_codes
from plinio_deploy.integerize.lower import Lowered
from plinio_deploy.quantization import LayerConfig, QuantConfig, QuantNetwork, quantize


def made() -> tuple[QuantNetwork, Lowered, torch.Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    x = torch.rand(4, 2, 5, 5)
    config = QuantConfig(layers={"0": LayerConfig(w_bits=(8, 0, 2, 8))})
    qnet = quantize(model, x, config).calibrate([x]).eval()
    return qnet, lower(qnet, "compared"), x


def test_a_faithful_network_differs_nowhere() -> None:
    qnet, lowered, x = made()
    assert max(layer_differences(qnet, lowered, x).values()) <= 1
    assert not any(compaction_differences(qnet, lowered, x).values())


def test_a_wrong_code_is_seen_in_its_layer() -> None:
    qnet, lowered, x = made()
    codes = trace_codes(lowered, x)
    first = lowered.network.ops[0].output
    codes[first] = codes[first] + 3
    worst = layer_differences(qnet, lowered, x, codes=codes)
    assert worst[first] >= 2


def test_a_wrong_permutation_is_seen() -> None:
    qnet, lowered, x = made()
    first = lowered.network.ops[0].output
    elements = dict(lowered.elements)
    elements[first] = np.roll(elements[first], 1)
    wrong = dataclasses.replace(lowered, elements=elements)
    assert compaction_differences(qnet, wrong, x)[first] > 0
