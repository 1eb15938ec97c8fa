# SPDX-License-Identifier: Apache-2.0
"""Layers whose weights are masked before they run: along input channels (what feeds them may vanish) and along taps.

The class of each layer is a sub-class of the ``torch.nn`` layer that it stands for and keeps its very parameters.
Nothing is ever multiplied onto activations, so a step costs about what it costs without masks.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone uses
from torch import Tensor, nn

from plinio_deploy.search.graph.channels import LayerKind
from plinio_deploy.search.graph.ids import IdArray
from plinio_deploy.search.methods.pit.masks import THRESHOLD, ChannelView, FeatureMask, TapMask


class PITLayer(nn.Module):
    """What all searched layers have in common; see the module's docstring.

    Attributes:
        ins: the channels that flow in; ``None`` where all of them always stay.
        outs: the output channels.
        timestep_masker, dilation_masker: taps of a 1-D convolution; ``None`` elsewhere.
        kernel_masker: one ring mask per distinct kernel axis of a 2-D or 3-D convolution; ``None`` elsewhere.
    """

    stands_for_base: ClassVar[bool] = True
    transposed: ClassVar[bool] = False
    weight: Tensor

    ins: ChannelView | None
    outs: ChannelView
    kind: LayerKind
    timestep_masker: TapMask | None
    dilation_masker: TapMask | None
    kernel_masker: nn.ModuleList | None

    def setup(self, kind: LayerKind, ins: ChannelView | None, outs: ChannelView) -> None:
        """Attach the masks; called once, on a layer whose class was just changed."""
        self.kind = kind
        self.ins = ins
        self.outs = outs
        self.timestep_masker = None
        self.dilation_masker = None
        self.kernel_masker = None

    @property
    def out_features_masker(self) -> FeatureMask | None:
        """The mask of the output channels if one mask governs them all, PLiNIO's name for it."""
        return self.outs.masks[0] if len(self.outs.masks) == 1 else None

    @property
    def in_features_opt(self) -> int:
        """Living input channels."""
        own: Any = self
        total = own.in_features if self.weight.dim() == 2 else own.in_channels
        return int(total) if self.ins is None else len(self.ins.alive())

    @property
    def out_features_opt(self) -> int:
        """Living output channels."""
        return len(self.outs.alive())

    def _in_mask(self) -> Tensor | None:
        if self.ins is None or self.kind == "depthwise":
            return None
        mask = self.ins.mask()
        ones = (1,) * (self.weight.dim() - 2)
        if self.transposed:
            return mask.view(-1, 1, *ones)
        return mask[: self.weight.shape[1]].view(1, -1, *ones)

    def tap_masks(self, *, share: bool = False) -> list[Tensor | None]:
        """Per kernel axis, 1 for living and 0 for masked taps; ``None`` where all live.

        With ``share``, the fraction of each tap that is there.
        """
        if self.kernel_masker is not None:
            sizes = self.weight.shape[2:]
            by_size = {mask.taps: mask for mask in self.kernel_masker if isinstance(mask, TapMask)}
            rings = [by_size.get(size) for size in sizes]
            return [None if ring is None else ring.share() if share else ring.binary() for ring in rings]
        found: Tensor | None = None
        for mask in (self.timestep_masker, self.dilation_masker):
            if mask is not None:
                value = mask.share() if share else mask.binary()
                found = value if found is None else found * value
        return [found] if self.weight.dim() == 3 else [None] * (self.weight.dim() - 2)

    def effective_weight(self) -> Tensor:
        """The weight that runs: zero on masked inputs and taps."""
        weight: Tensor = self.weight
        mask = self._in_mask()
        for axis, taps in enumerate(self.tap_masks()):
            if taps is not None:
                taps = taps.view([-1 if axis + 2 == i else 1 for i in range(weight.dim())])  # noqa: PLW2901
                mask = taps if mask is None else mask * taps
        return weight if mask is None else weight * mask.to(weight.dtype)

    def effective_kernel(self, *, discrete: bool) -> tuple[Tensor | int, ...]:
        """Kernel size as the cost sees it: taps that live, or the sum of their fractions."""
        found: list[Tensor | int] = []
        for size, taps in zip(self.weight.shape[2:], self.tap_masks(share=not discrete), strict=True):
            found.append(size if taps is None else taps.sum())
        return tuple(found)

    def alive_taps(self) -> list[IdArray]:
        """Indices of the living taps per kernel axis."""
        with torch.no_grad():
            sizes = self.weight.shape[2:]
            masks = self.tap_masks()
        return [
            np.arange(size) if taps is None else np.flatnonzero(taps.detach().cpu().numpy() > THRESHOLD)
            for size, taps in zip(sizes, masks, strict=True)
        ]


class _PITConv(PITLayer):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As the convolution, with the masked weight."""
        own: Any = self
        result: Tensor = own._conv_forward(input, self.effective_weight(), own.bias)  # noqa: SLF001 - its base class's
        return result


class PITConv1d(_PITConv, nn.Conv1d):
    """Conv1d with searched channels, receptive field and dilation."""


class PITConv2d(_PITConv, nn.Conv2d):
    """Conv2d with searched channels and, if asked for, kernel size."""


class PITConv3d(_PITConv, nn.Conv3d):
    """Conv3d with searched channels and, if asked for, kernel size."""


class PITLinear(PITLayer, nn.Linear):
    """Linear with searched output features."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As the linear layer, with the masked weight."""
        return F.linear(input, self.effective_weight(), self.bias)


class _PITConvTranspose(PITLayer):
    transposed: ClassVar[bool] = True
    function: ClassVar[Any]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002 - torch's name
        """As the transposed convolution, with the masked weight."""
        own: Any = self
        spatial = self.weight.dim() - 2
        extra = own._output_padding(  # noqa: SLF001 - its base class's
            input, output_size, own.stride, own.padding, own.kernel_size, spatial, own.dilation
        )
        result: Tensor = type(self).function(
            input, self.effective_weight(), own.bias, own.stride, own.padding, extra, own.groups, own.dilation
        )
        return result


class PITConvTranspose1d(_PITConvTranspose, nn.ConvTranspose1d):
    """ConvTranspose1d with searched channels."""

    function = staticmethod(F.conv_transpose1d)


class PITConvTranspose2d(_PITConvTranspose, nn.ConvTranspose2d):
    """ConvTranspose2d with searched channels."""

    function = staticmethod(F.conv_transpose2d)


class PITConvTranspose3d(_PITConvTranspose, nn.ConvTranspose3d):
    """ConvTranspose3d with searched channels."""

    function = staticmethod(F.conv_transpose3d)


KINDS: dict[type[nn.Module], type[PITLayer]] = {
    nn.Conv1d: PITConv1d,
    nn.Conv2d: PITConv2d,
    nn.Conv3d: PITConv3d,
    nn.Linear: PITLinear,
    nn.ConvTranspose1d: PITConvTranspose1d,
    nn.ConvTranspose2d: PITConvTranspose2d,
    nn.ConvTranspose3d: PITConvTranspose3d,
}
"""Which searched layer stands for which layer."""


def base_kind(module: nn.Module) -> type[nn.Module]:
    """The ``torch.nn`` class that a layer is, or is a sub-class of."""
    return next((kind for kind in KINDS if isinstance(module, kind)), type(module))
