# SPDX-License-Identifier: Apache-2.0
"""The trainable masks of PIT: channels, receptive field, dilation, kernel size.

Each mask has real parameters, a continuous theta >= 0 that follows from them, and a binary value theta > 0.5 whose
gradient passes straight through. What must stay (the last channel, the newest tap, the innermost ring) has theta >= 1
whatever the parameters are. Formulas: Risso et al., "Pruning In Time (PIT)", DAC 2021; the dilation pattern is anchored
at the newest tap, so that what survives is always a regular convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plinio_deploy.search.graph.ids import IdArray

THRESHOLD = 0.5


class _Binarize(torch.autograd.Function):
    """``theta > 0.5`` as 0 or 1, in theta's type; the gradient passes as it is."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor) -> Tensor:  # noqa: ARG004 - autograd's signature
        return (theta > THRESHOLD).to(theta.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ARG004
        return grad_outputs[0]


def binarize(theta: Tensor) -> Tensor:
    """0 or 1 per element of theta, with a straight-through gradient."""
    value: Tensor = _Binarize.apply(theta)  # type: ignore[no-untyped-call]
    return value


class FeatureMask(nn.Module):
    """One parameter per channel, or per set of channels that live and die together.

    Args:
        kept: one flag per parameter: does it always stay?
        trainable: False keeps all channels as they are.
    """

    kept: Tensor

    def __init__(self, kept: Sequence[bool], *, trainable: bool = True) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(len(kept)), requires_grad=trainable)
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.float32), persistent=False)

    def theta(self) -> Tensor:
        """|alpha|, shape (n,), 1 where a channel is kept."""
        kept = self.kept.to(self.alpha.dtype)
        return self.alpha.abs() * (1 - kept) + kept

    def binary(self) -> Tensor:
        """1 for living channels, 0 for masked ones."""
        return binarize(self.theta())


class ChannelView(nn.Module):
    """The channels of one tensor, as the masks that govern them see them.

    Args:
        masks: the masks involved (owned elsewhere).
        index: per channel, the place in the concatenated masks; one past the end for channels that always stay.
    """

    index: Tensor
    counts: Tensor

    def __init__(self, masks: Sequence[FeatureMask], index: IdArray) -> None:
        super().__init__()
        self._masks = tuple(masks)  # a tuple hides them from the module tree: their owner is the wrapper
        total = sum(mask.alpha.numel() for mask in masks)
        counts = np.bincount(index, minlength=total + 1)
        self.fixed = float(counts[total])
        self.direct = len(masks) == 1 and len(index) == total and bool((index == np.arange(total)).all())
        self.register_buffer("index", torch.from_numpy(index.astype(np.int64)), persistent=False)
        self.register_buffer("counts", torch.from_numpy(counts[:total].astype(np.float32)), persistent=False)

    @property
    def masks(self) -> tuple[FeatureMask, ...]:
        """The masks involved."""
        return self._masks

    def __len__(self) -> int:
        return self.index.numel()

    def mask(self) -> Tensor:
        """1 per living and 0 per masked channel, shape (channels,), differentiable."""
        if self.direct:
            return self._masks[0].binary()
        values = [mask.binary() for mask in self._masks]
        ones = torch.ones(1, device=self.index.device, dtype=values[0].dtype if values else torch.float32)
        return torch.cat([*values, ones])[self.index.to(ones.device)]

    def effective(self, *, discrete: bool, memo: dict[int, Tensor] | None = None) -> Tensor | float:
        """How many channels there are: the sum of thetas, or of binary masks.

        Args:
            discrete: count binary masks.
            memo: thetas by identity of their mask, for the views of one evaluation to share.
        """
        if not self._masks:
            return self.fixed
        known = {} if memo is None else memo
        for mask in self._masks:
            if id(mask) not in known:
                known[id(mask)] = mask.binary() if discrete else mask.theta()
        thetas = [known[id(mask)] for mask in self._masks]
        theta = thetas[0] if len(thetas) == 1 else torch.cat(thetas)
        return theta @ self.counts.to(theta) + self.fixed

    def alive(self) -> IdArray:
        """Indices of the living channels, ascending."""
        with torch.no_grad():
            return np.flatnonzero(self.mask().detach().cpu().numpy() > THRESHOLD)


class TapMask(nn.Module):
    """Parameters whose partial sums say which taps of a kernel's axis stay.

    Args:
        taps: size of the axis.
        membership: (taps, parameters) 0/1: which parameters each tap sums. The last parameter always counts as 1.
        name: of the parameter ("beta", "gamma"), as in the papers.
        trainable: False keeps all taps as they are.
    """

    membership: Tensor
    kept: Tensor

    def __init__(self, membership: np.ndarray[Any, Any], name: str, *, trainable: bool = True) -> None:
        super().__init__()
        taps, count = membership.shape
        self.taps = taps
        self.name = name
        self.register_parameter(name, nn.Parameter(torch.ones(count), requires_grad=trainable))
        self.register_buffer("membership", torch.from_numpy(membership.astype(np.float32)), persistent=False)
        kept = torch.zeros(count)
        kept[-1] = 1
        self.register_buffer("kept", kept, persistent=False)

    @property
    def parameter(self) -> nn.Parameter:
        """Beta or gamma."""
        value = getattr(self, self.name)
        assert isinstance(value, nn.Parameter)
        return value

    def theta(self) -> Tensor:
        """Per tap, the sum of its parameters, shape (taps,)."""
        kept = self.kept.to(self.parameter.dtype)
        return self.membership.to(kept.dtype) @ (self.parameter.abs() * (1 - kept) + kept)

    def share(self) -> Tensor:
        """Theta divided by the number of parameters it sums: the fraction of each tap that is there."""
        return self.theta() / self.membership.sum(1).to(self.parameter.dtype)

    def binary(self) -> Tensor:
        """1 for living taps, 0 for masked ones."""
        return binarize(self.theta())


def timestep_mask(taps: int, *, trainable: bool = True) -> TapMask:
    """Receptive field: tap i sums beta_0..beta_i, so the oldest taps go first and the newest stays."""
    return TapMask(np.tril(np.ones((taps, taps))), "beta", trainable=trainable)


def dilation_mask(taps: int, *, trainable: bool = True) -> TapMask:
    """Dilation: gamma_i belongs to the taps whose distance from the newest is a multiple of 2**i."""
    count = max((taps - 1).bit_length(), 1)
    distance = np.arange(taps)[::-1]
    return TapMask(np.stack([distance % 2**i == 0 for i in range(count)], axis=1), "gamma", trainable=trainable)


def ring_mask(taps: int, *, trainable: bool = True) -> TapMask:
    """Kernel size of an axis: the outermost pair of taps goes first, the innermost one or two stay."""
    ring = np.minimum(np.arange(taps), np.arange(taps)[::-1])
    return TapMask(ring[:, None] >= np.arange((taps + 1) // 2)[None, :], "beta", trainable=trainable)
