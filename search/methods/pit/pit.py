# SPDX-License-Identifier: Apache-2.0
"""PIT: which channels, which receptive field, which dilation, which kernel size, by gradient, in one training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from plinio_deploy.errors import CheckFailed
from plinio_deploy.search.cost.evaluate import NetworkUse, Number
from plinio_deploy.search.cost.params import params
from plinio_deploy.search.graph.bn import FoldedNorm, fold_batch_norms
from plinio_deploy.search.graph.channels import Channels, OnUnsupported, Rules
from plinio_deploy.search.graph.layers import LAYERS
from plinio_deploy.search.graph.trace import Leaf, is_choice
from plinio_deploy.search.graph.usage import Call, Program, program
from plinio_deploy.search.methods.base import DNAS, CostArgument, _to
from plinio_deploy.search.methods.pit.convert import MaskBook, Options, convert
from plinio_deploy.search.methods.pit.export import Export, steps
from plinio_deploy.search.methods.pit.layers import PITLayer, base_kind
from plinio_deploy.search.methods.pit.masks import ChannelView, FeatureMask, TapMask
from plinio_deploy.search.methods.pit.settle import settle

TOLERANCE = 1e-4
"""Largest difference between searched and exported outputs that rounding explains, relative to the largest output."""


class PIT(DNAS):
    """A model whose channels (and taps of its kernels) are searched.

    Args:
        model: the model; it is copied. `SuperNetModule`s in it are searched along.
        cost: see `DNAS`.
        input_example, input_shape: see `DNAS`.
        autoconvert_layers: False searches nothing but what flows into alternatives.
        discrete_cost: count living channels instead of sums of thetas.
        full_cost: also count layers that are excluded.
        exclude_names: module paths whose outputs are not searched; a path stands for all that lies below it.
        exclude_types: the same by type.
        train_features: search channels.
        train_rf: search the receptive field of 1-D convolutions.
        train_dilation: search the dilation of 1-D convolutions.
        fold_bn: fold batch norms into the convolutions before them, and train without.
        train_kernel: search the kernel size of 2-D and 3-D convolutions (rings of taps, from the outside).
        granularity: channels live and die in blocks of this many, for SIMD; one number or one per module path.
        leaves: see `DNAS`; what flows into a leaf stays.
        on_unsupported: ``"refuse"`` a model with an operation whose effect on channels is not known, or ``"freeze"``
            the channels that flow into it.

    Raises:
        UsageError, UnsupportedModel: see `DNAS`.
    """

    def __init__(
        self,
        model: nn.Module,
        cost: CostArgument = params,
        input_example: Any | None = None,
        input_shape: Sequence[int] | None = None,
        autoconvert_layers: bool = True,
        discrete_cost: bool = False,
        full_cost: bool = False,
        exclude_names: Sequence[str] = (),
        exclude_types: Sequence[type[nn.Module]] = (),
        train_features: bool = True,
        train_rf: bool = True,
        train_dilation: bool = True,
        fold_bn: bool = False,
        *,
        train_kernel: bool = False,
        granularity: int | Mapping[str, int] = 1,
        leaves: Sequence[Leaf] = (),
        on_unsupported: OnUnsupported = "refuse",
    ) -> None:
        super().__init__(model, cost, input_example, input_shape, full_cost=full_cost, leaves=leaves)
        self.discrete_cost = discrete_cost
        self._folded: dict[str, FoldedNorm] = fold_batch_norms(self.seed) if fold_bn else {}
        exclude: tuple[Leaf, ...] = (*exclude_names, *exclude_types)
        self._rules = Rules(
            exclude, tuple(leaves), on_unsupported, granularity, searchable=LAYERS if autoconvert_layers else ()
        )
        self._analysis: tuple[Channels, MaskBook] | None = None
        channels = Channels(self.seed, self.example_shapes(), self._rules)
        book = MaskBook(channels, trainable=train_features)
        options = Options(autoconvert_layers, exclude, train_features, train_rf, train_dilation, train_kernel)
        convert(channels, book, options)
        self.masks = book.masks.train(self.training).to(self._device())
        self.notes: tuple[str, ...] = tuple(channels.notes)
        self._analysis = (channels, book)
        self._views: dict[bytes, ChannelView] = {}
        self._memo: dict[int, Tensor] | None = None

    # ---------------------------------------------------------------------------------------------- analysis

    def _analysed(self) -> tuple[Channels, MaskBook]:
        """The channel analysis of the seed, made anew after a copy."""
        if self._analysis is None:
            channels = Channels(self.seed, self.example_shapes(), self._rules)
            self._analysis = (channels, MaskBook(channels, self.masks))
        return self._analysis

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what follows from the graph."""
        return {**super().__getstate__(), "_analysis": None, "_views": {}}

    def pit_layers(self) -> dict[str, PITLayer]:
        """The searched layers by module path."""
        return {path: module for path, module in self.seed.named_modules() if isinstance(module, PITLayer)}

    # ---------------------------------------------------------------------------------------------- cost

    def make_program(self) -> Program:
        """See `DNAS`."""
        channels, _ = self._analysed()
        return program(self.seed, channels.shapes, channels.features)

    def _counts(self, call: Call) -> bool:
        return self.full_cost or not isinstance(call.module, LAYERS) or isinstance(call.module, PITLayer)

    def network_use(self, *, steps: bool = True, kinds: Collection[type] | None = None) -> NetworkUse:
        """See `DNAS`."""
        self._memo = {}
        try:
            return super().network_use(steps=steps, kinds=kinds)
        finally:
            self._memo = None

    def effective(self, module: nn.Module) -> dict[str, Any]:
        """See `DNAS`."""
        if not isinstance(module, PITLayer):
            return {}
        discrete = self.discrete_cost
        outs = module.outs.effective(discrete=discrete, memo=self._memo)
        ins = None if module.ins is None else module.ins.effective(discrete=discrete, memo=self._memo)
        own: Any = module
        if base_kind(module) is nn.Linear:
            return {"out_features": outs, "in_features": own.in_features if ins is None else ins}
        found: dict[str, Any] = {"out_channels": outs, "in_channels": own.in_channels if ins is None else ins}
        if module.timestep_masker or module.dilation_masker or module.kernel_masker:
            found["kernel_size"] = module.effective_kernel(discrete=discrete)
        return found

    def _elements(self, call: Call) -> Number:
        if call.features is None:
            return call.elements
        key = call.features.ids.tobytes()
        if key not in self._views:
            self._views[key] = self._analysed()[1].view(call.features.ids).to(self._device())
        return self._views[key].effective(discrete=self.discrete_cost, memo=self._memo) * (
            call.elements / len(call.features.ids)
        )

    # ---------------------------------------------------------------------------------------------- parameters

    def _nas_ids(self) -> set[int]:
        own = super()._nas_ids()
        for module in self.modules():
            if isinstance(module, FeatureMask):
                own.add(id(module.alpha))
            elif isinstance(module, TapMask):
                own.add(id(module.parameter))
        return own

    def _train(self, masks: Sequence[nn.Parameter | None], value: bool) -> None:
        for parameter in masks:
            if parameter is not None:
                parameter.requires_grad_(value)

    @property
    def train_features(self) -> bool:
        """Are channels searched?"""
        return any(mask.alpha.requires_grad for mask in self.masks.values() if isinstance(mask, FeatureMask))

    @train_features.setter
    def train_features(self, value: bool) -> None:
        self._train([mask.alpha for mask in self.masks.values() if isinstance(mask, FeatureMask)], value)

    def _taps(self, name: str) -> list[nn.Parameter]:
        found = [getattr(layer, name) for layer in self.pit_layers().values()]
        return [mask.parameter for mask in found if isinstance(mask, TapMask)]

    @property
    def train_rf(self) -> bool:
        """Is the receptive field searched?"""
        return any(parameter.requires_grad for parameter in self._taps("timestep_masker"))

    @train_rf.setter
    def train_rf(self, value: bool) -> None:
        self._train(self._taps("timestep_masker"), value)

    @property
    def train_dilation(self) -> bool:
        """Is the dilation searched?"""
        return any(parameter.requires_grad for parameter in self._taps("dilation_masker"))

    @train_dilation.setter
    def train_dilation(self, value: bool) -> None:
        self._train(self._taps("dilation_masker"), value)

    # ---------------------------------------------------------------------------------------------- results

    def export(self, add_bn: bool = True, *, check: bool = True) -> fx.GraphModule:
        """The network without its masked channels and taps, every value kept; shares nothing with the search.

        Args:
            add_bn: where batch norms were folded, take them out again, exactly; others are kept in any case.
            check: run both networks on the example input and compare.

        Raises:
            CheckFailed: the exported network computes something else; the model uses sizes in a way that the analysis
                did not see.
        """
        channels, book = self._analysed()
        exported = Export(channels, book, self._folded if add_bn else {}).run(self.seed)
        if check:
            self._compare(exported)
        return exported

    def settle(self, limit: float | str, name: str | None = None) -> float:
        """Meet a limit exactly after the search: keep the channels it ranks highest, as many as the limit allows.

        Args:
            limit: in the cost's own unit; ``"24 kB"`` and the like; or ``"30 %"`` of the present cost.
            name: which of several costs.

        Returns:
            The cost of the network that `export` gives now, at most the limit.

        Raises:
            UsageError: no choice of channels meets the limit, or there is no cost of that name.
        """
        continuous, self.discrete_cost = self.discrete_cost, True
        try:
            cost, most = self._limited(limit, name)
            return settle([module for module in self.modules() if isinstance(module, FeatureMask)], cost, most)
        finally:
            self.discrete_cost = continuous

    def _compare(self, exported: nn.Module) -> None:
        inputs = [_to(item, self._device()) for item in self._inputs]
        flags = {module: module.training for part in (self, exported) for module in part.modules()}
        try:
            self.eval()
            exported.eval()
            with torch.no_grad():
                ours, theirs = _tensors(self(*inputs)), _tensors(exported(*inputs))
        finally:
            for module, flag in flags.items():
                module.training = flag
        for a, b in zip(ours, theirs, strict=True):
            far = float("inf") if a.shape != b.shape else float((a - b).abs().max() if a.numel() else 0)
            if not far <= TOLERANCE * max(1e-6, float(a.abs().max() if a.numel() else 0)):
                raise CheckFailed(
                    "the exported network does not compute what the searched one computes",
                    got=f"largest difference {far:.3g}",
                    hints=(
                        "Look for sizes of tensors used as numbers (x / x.shape[1]): they change when channels go.",
                        "Keep the layers before that place: exclude_names=('its.path',).",
                    ),
                )

    def summary(self) -> dict[str, dict[str, Any]]:
        """Living inputs and outputs per searched layer, kernels where these are searched, weights of branches."""
        found: dict[str, dict[str, Any]] = {}
        for path, module in self.seed.named_modules():
            if isinstance(module, PITLayer):
                found[path] = {"in_features": module.in_features_opt, "out_features": module.out_features_opt}
                if module.timestep_masker or module.kernel_masker:
                    found[path]["kernel_size"] = tuple(len(alive) for alive in module.alive_taps())
                    own: Any = module
                    found[path]["dilation"] = tuple(a * b for a, b in zip(steps(module), own.dilation, strict=True))
            elif is_choice(module):
                choice: Any = module
                weights = choice.theta().detach().tolist()
                found[path] = {f"branch_{index}": weight for index, weight in enumerate(weights)}
        return found


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, tuple | list) else []


__all__ = ["PIT"]
