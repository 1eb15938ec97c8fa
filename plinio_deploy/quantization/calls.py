# SPDX-License-Identifier: Apache-2.0
"""One ATen call with its arguments looked up, and what it can turn out to mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.quantization.graph import Operator, Parameters, Where


@dataclass(frozen=True)
class Reference:
    """The result of a node; ``shape`` leaves the batch out."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Constant:
    """A parameter, buffer or constant; ``key`` names where it came from."""

    tensor: Tensor
    key: str


@dataclass(frozen=True)
class Finish:
    """The result of an operator that the host does after the network."""

    source: Reference
    kind: str
    dim: int | None
    keepdim: bool = False


@dataclass(frozen=True, eq=False)
class Made:
    """A new node, and the parameters that its operator names, if any."""

    operator: Operator
    inputs: tuple[str, ...]
    parameters: Parameters | None = None


Result: TypeAlias = Made | Reference | Finish


@dataclass(frozen=True, eq=False)
class Call:
    """One ATen call: name without the trailing underscore, arguments by name, the result's shape with the batch."""

    name: str
    overload: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...] | None
    where: Where
    inplace: bool

    def source(self, key: str = "") -> Reference:
        """The tensor argument ``key`` (the first argument if empty), which must come from the network."""
        value = self.arguments[key] if key else next(iter(self.arguments.values()))
        if isinstance(value, Finish):
            raise unsupported(
                f"{self.name} after {value.kind}", f"{value.kind} as the model's last operator", self.where
            )
        if not isinstance(value, Reference):
            raise unsupported(
                f"{self.name} of a constant and a tensor",
                "operators between tensors that the network computes",
                self.where,
                "Fold the constant into the layer before or after it, or into the recipe's input range.",
            )
        return value

    def constant(self, key: str) -> Constant | None:
        """The parameter ``key``, or ``None`` where there is none."""
        value = self.arguments.get(key)
        if value is None or isinstance(value, Constant):
            return value
        raise unsupported(f"{self.name} with a computed {key}", f"a constant {key}", self.where)


def unsupported(got: str, expected: str, where: Where, *hints: str) -> UnsupportedModel:
    """The refusal of an operator."""
    return UnsupportedModel(
        "the model holds an operator without an integer form", where=str(where), got=got, expected=expected, hints=hints
    )


def copied_parameters(weight: Tensor, bias: Constant | None) -> Parameters:
    """Copies that do not follow the model."""
    return Parameters(weight.clone(), None if bias is None else bias.tensor.clone())
