# SPDX-License-Identifier: Apache-2.0
"""From the channel analysis to masks, and from layers to searched layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from plinio_deploy.search.graph.channels import Channels, LayerInfo
from plinio_deploy.search.graph.ids import FROZEN, IdArray
from plinio_deploy.search.graph.trace import Leaf, matches
from plinio_deploy.search.methods.pit.layers import KINDS, PITLayer, base_kind
from plinio_deploy.search.methods.pit.masks import (
    ChannelView,
    FeatureMask,
    dilation_mask,
    ring_mask,
    timestep_mask,
)
from plinio_deploy.search.methods.pit.norms import convert_norm


@dataclass(frozen=True)
class Options:
    """What PIT may search; see `PIT`."""

    autoconvert_layers: bool = True
    exclude: Sequence[Leaf] = ()
    train_features: bool = True
    train_rf: bool = True
    train_dilation: bool = True
    train_kernel: bool = False


class MaskBook:
    """Which parameter of which mask each identifier stands for.

    Layers that share any identifier share one mask; its parameters are in the order in which the layers came.
    """

    def __init__(self, channels: Channels, known: nn.ModuleDict | None = None, *, trainable: bool = True) -> None:
        self.masks = nn.ModuleDict() if known is None else known
        self._place: dict[int, tuple[str, int]] = {}
        kept = channels.kept()
        for layers in _sharing(list(channels.layers.values())):
            ids = [int(item) for layer in layers for item in layer.outs if item != FROZEN]
            order = list(dict.fromkeys(ids))
            name = layers[0].path.replace(".", "/")
            self._place.update({item: (name, position) for position, item in enumerate(order)})
            if known is None:
                self.masks[name] = FeatureMask([item in kept for item in order], trainable=trainable)

    def view(self, ids: IdArray) -> ChannelView:
        """The channels with these identifiers."""
        names = list(dict.fromkeys(self._place[int(item)][0] for item in ids if int(item) in self._place))
        masks = [mask for name in names if isinstance(mask := self.masks[name], FeatureMask)]
        starts = dict(zip(names, np.cumsum([0] + [mask.alpha.numel() for mask in masks]).tolist(), strict=False))
        end = sum(mask.alpha.numel() for mask in masks)
        index = [end if place is None else starts[place[0]] + place[1] for place in map(self._place.get, ids.tolist())]
        return ChannelView(masks, np.array(index, dtype=np.int64))

    def alive(self, ids: IdArray) -> IdArray:
        """Indices of the living channels among those with these identifiers."""
        return self.view(ids).alive()


def _sharing(layers: list[LayerInfo]) -> list[list[LayerInfo]]:
    """Layers in groups that share identifiers of outputs, in order; layers that always stay are in none."""
    group: dict[int, list[LayerInfo]] = {}  # by identifier
    for layer in layers:
        own = {int(item) for item in layer.outs if item != FROZEN}
        if not own:
            continue
        joined: list[LayerInfo] = []
        for members in {id(group[item]): group[item] for item in own if item in group}.values():
            joined.extend(members)
        joined.append(layer)
        for member in joined:
            group.update({int(item): joined for item in member.outs if item != FROZEN})
    order = {id(layer): index for index, layer in enumerate(layers)}
    unique = {id(members): members for members in group.values()}.values()
    return sorted(
        (sorted(members, key=lambda item: order[id(item)]) for members in unique), key=lambda m: order[id(m[0])]
    )


def convert(channels: Channels, book: MaskBook, options: Options) -> dict[str, PITLayer]:
    """Turn the layers of an analysed model into searched ones, in place; returns them by module path."""
    found: dict[str, PITLayer] = {}
    for layer in channels.layers.values():
        excluded = not options.autoconvert_layers or matches(layer.path, layer.module, options.exclude)
        if excluded and layer.ins is None:
            continue
        ins = None if layer.ins is None else book.view(layer.ins)
        for path, module in layer.modules.items():
            module.__class__ = KINDS[base_kind(module)]
            assert isinstance(module, PITLayer)
            module.setup(layer.kind, ins, book.view(layer.outs))
            if not excluded:
                _add_tap_masks(module, options)
            found[path] = module
    changed: list[nn.Module] = list(found.values())
    for carrier in channels.carriers.values():
        if carrier.ids is not None:
            convert_norm(carrier.module, book.view(carrier.ids), carrier.axis)
            changed.append(carrier.module)
    for module in changed:  # their new parts are in the mode and on the device of the old ones
        module.train(module.training)
        device = next((parameter.device for parameter in module.parameters(recurse=False)), None)
        module.to(device)
    return found


def _add_tap_masks(module: PITLayer, options: Options) -> None:
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or module.padding_mode != "zeros":
        return
    sizes = tuple(module.kernel_size)
    if isinstance(module, nn.Conv1d):
        if sizes[0] > 1:
            module.timestep_masker = timestep_mask(sizes[0], trainable=options.train_rf)
            module.dilation_masker = dilation_mask(sizes[0], trainable=options.train_dilation)
    elif options.train_kernel and any(size > 2 for size in sizes):
        module.kernel_masker = nn.ModuleList(ring_mask(size) for size in dict.fromkeys(sizes) if size > 2)
