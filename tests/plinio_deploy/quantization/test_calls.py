# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization.calls import Call, Constant, Finish, Reference, copied_parameters, unsupported
from plinio_deploy.quantization.graph import Where

WHERE = Where("block.conv", "model.py:7")


def call(**arguments: object) -> Call:
    return Call("relu", "default", arguments, (2, 3), WHERE, inplace=False)


def test_the_first_argument_is_the_source() -> None:
    reference = Reference("x", (3,))
    assert call(self=reference, other=1).source() is reference


def test_a_constant_source_is_refused() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        call(self=Constant(torch.zeros(1), "c")).source()
    assert "relu of a constant" in str(caught.value)
    assert "block.conv (model.py:7)" in str(caught.value)


def test_a_finished_source_is_refused() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        call(self=Finish(Reference("x", (3,)), "softmax", 1)).source()
    assert "relu after softmax" in str(caught.value)


def test_optional_constants() -> None:
    constant = Constant(torch.zeros(1), "c")
    found = call(weight=constant, bias=None, other=Reference("x", ()))
    assert found.constant("weight") is constant
    assert found.constant("bias") is None
    with pytest.raises(UnsupportedModel):
        found.constant("other")


def test_parameters_are_copies() -> None:
    weight = torch.ones(2)
    held = copied_parameters(weight, None)
    weight.zero_()
    assert held.weight.sum() == 2
    assert held.bias is None


def test_a_refusal_says_all_it_knows() -> None:
    error = unsupported("gelu", "relu", WHERE, "Use ReLU.")
    assert (error.where, error.got, error.expected, error.hints) == (str(WHERE), "gelu", "relu", ("Use ReLU.",))
