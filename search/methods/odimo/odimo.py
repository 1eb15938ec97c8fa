# SPDX-License-Identifier: Apache-2.0
"""ODiMO: which accelerator computes each output channel, by gradient, in one training."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from plinio_deploy.errors import UsageError
from plinio_deploy.quantization.calibrate import Method
from plinio_deploy.quantization.config import LayerConfig
from plinio_deploy.quantization.graph import Conv, Linear
from plinio_deploy.quantization.network import QuantNetwork
from plinio_deploy.search.methods.base import CostArgument
from plinio_deploy.search.methods.mps.mps import MPS
from plinio_deploy.search.methods.mps.qinfo import MPSType
from plinio_deploy.search.methods.odimo.diana import DIANA
from plinio_deploy.search.methods.odimo.platform import Platform, kind_of


class ODiMO_MPS(MPS):  # noqa: N801 (PLiNIO's name)
    """A model whose output channels are divided among the accelerators of a platform, quantized as these need it.

        search = ODiMO_MPS(model, input_example=x, calibration=loader)       # for DIANA, for its latency
        loss = criterion(search(x), y) + 1e-6 * search.cost
        qnet = search.export()                # a QuantNetwork that carries the assignment: fine-tune it, integerize it

    It is `MPS` with a choice per channel, in which the width of its weights stands for the accelerator. Integerization
    puts the channels of one accelerator side by side where it may, and `plinio_deploy.integerize.split` makes an op of
    its own of each part.

    Args:
        model: a float model; it is copied.
        cost: see `DNAS`; the platform's latency by default. ``platform.energy`` is another, and all other costs go.
        input_example, input_shape: see `DNAS`.
        platform: the accelerators.
        full_cost, exclude_names, exclude_types: see `MPS`; what is excluded keeps 8 bits and is assigned to none.
        temperature, gumbel_softmax, hard_softmax, disable_sampling: see `MPS`. A mixture costs what channels cost that
            are divided as the mean of their thetas says; lower the temperature towards the end, or take
            ``hard_softmax``, so that what is exported is divided likewise.
        input_range, calibration, calibration_method, learn_weight_steps: see `MPS`.

    Raises:
        UsageError: a layer that no accelerator can run and that is not excluded, or as `MPS`.
        UnsupportedModel: as `MPS`.
    """

    def __init__(
        self,
        model: nn.Module,
        cost: CostArgument | None = None,
        input_example: Any | None = None,
        input_shape: Sequence[int] | None = None,
        *,
        platform: Platform = DIANA,
        full_cost: bool = False,
        exclude_names: Sequence[str] = (),
        exclude_types: Sequence[type[nn.Module]] = (),
        temperature: float = 1.0,
        gumbel_softmax: bool = False,
        hard_softmax: bool = False,
        disable_sampling: bool = False,
        input_range: tuple[float, float] | tuple[tuple[float, float], ...] = (0.0, 1.0),
        calibration: Iterable[Any] | None = None,
        calibration_method: Method = "mse",
        learn_weight_steps: bool = True,
    ) -> None:
        super().__init__(
            model,
            platform.latency if cost is None else cost,
            input_example,
            input_shape,
            MPSType.PER_CHANNEL,
            platform.qinfo,
            full_cost=full_cost,
            exclude_names=exclude_names,
            exclude_types=exclude_types,
            temperature=temperature,
            gumbel_softmax=gumbel_softmax,
            hard_softmax=hard_softmax,
            disable_sampling=disable_sampling,
            input_range=input_range,
            calibration=calibration,
            calibration_method=calibration_method,
            learn_weight_steps=learn_weight_steps,
            narrow_weights=tuple(unit.w_bits for unit in platform.accelerators if unit.narrow),
        )
        self.platform = platform
        self._check_runnable()

    def _check_runnable(self) -> None:
        for node in self.network.nodes:
            if not isinstance(node.operator, Conv | Linear) or node.path in self._excluded:
                continue
            kind = kind_of(node.operator, self.network.layers[self.network.layer_of[node.name]].get_parameter("weight"))
            if not self.platform.able(kind):
                kinds = sorted({able for unit in self.platform.accelerators for able in unit.ops})
                raise UsageError(
                    f"no accelerator of {self.platform.name} can run this layer",
                    where=str(node.where),
                    got=kind,
                    expected="one of " + ", ".join(kinds),
                    hints=(f"Pass exclude_names=({node.path!r},): it then belongs to the host.",),
                )

    def assignment(self) -> dict[str, tuple[str, ...]]:
        """The likeliest accelerator of each output channel, by module path."""
        return self._assignment(self.network.chosen().layers)

    def _assignment(self, layers: Mapping[str, LayerConfig]) -> dict[str, tuple[str, ...]]:
        return {
            path: tuple(self.platform.of_width(bits).name for bits in layer.w_bits)
            for path, layer in layers.items()
            if isinstance(layer.w_bits, tuple) and path not in self._excluded
        }

    def export(self) -> QuantNetwork:
        """As `MPS.export`; the assignment goes with it, into the integer network."""
        found = super().export()
        layers = dict(found.config.layers)
        for path, names in self._assignment(layers).items():
            layers[path] = dataclasses.replace(layers[path], accelerators=names)
        found.config = dataclasses.replace(found.config, layers=layers)
        return found

    def summary(self) -> dict[str, dict[str, Any]]:
        """As `MPS.summary`, and how many channels each accelerator has, under ``accelerators``."""
        found = super().summary()
        for path, names in self.assignment().items():
            found[path]["accelerators"] = dict(Counter(names))
        return found


__all__ = ["ODiMO_MPS"]
