# SPDX-License-Identifier: Apache-2.0
"""The costs of a float model against the code that is generated from it: the same bytes, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from plinio_deploy import PIT, codegen, cost
from plinio_deploy.integerize import integerize
from plinio_deploy.quantization import QuantConfig, quantize
from plinio_deploy.recipes.digits import DigitsNet
from plinio_deploy.recipes.models import DSCNN, ResNet8
from tests.search.cost.record import record

COSTS = {"arena": cost.arena, "macs": cost.ops_no_bias}


def generated(model: nn.Module, shape: tuple[int, ...], bits: int) -> dict[str, Any]:
    """The manifest of the C project for a model; its weights do not matter."""
    torch.manual_seed(0)
    x = torch.rand(4, *shape)
    quantized = quantize(model.eval(), x[:1], QuantConfig(w_bits=bits, a_bits=8, input_range=(0.0, 1.0)))
    quantized.calibrate([(x, torch.zeros(4))])
    manifest: dict[str, Any] = json.loads(codegen.generate(integerize(quantized, "net")).files["manifest.json"])
    return manifest


@pytest.mark.parametrize(
    ("model", "shape"),
    [(DigitsNet(), (1, 8, 8)), (ResNet8(), (3, 32, 32)), (DSCNN(), (1, 49, 10))],
    ids=["digits", "ic", "kws"],
)
@pytest.mark.parametrize("bits", [8, 4])
def test_arena_flash_and_operations_are_those_of_the_generated_code(
    model: nn.Module, shape: tuple[int, ...], bits: int
) -> None:
    manifest = generated(model, shape, bits)
    found = PIT(model, cost=COSTS, input_shape=shape, full_cost=True, autoconvert_layers=False)
    assert found.get_cost("arena").item() == manifest["arena_bound_bytes"]
    assert found.get_cost("macs").item() == manifest["macs"]
    stored = sum(step["weights_bytes"] for step in manifest["steps"])
    assert cost.evaluate(cost.flash, record(model, (1, *shape), w_precision=bits)).item() == stored
