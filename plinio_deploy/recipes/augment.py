# SPDX-License-Identifier: Apache-2.0
"""Changes by chance that keep a sample's meaning."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHIFT = 4
"""Pixels by which an image is shifted at most."""


def shift_and_mirror(images: Tensor, generator: torch.Generator, shift: int = SHIFT, *, mirror: bool = True) -> Tensor:
    """Shift each image by up to some pixels (zeros come in) and mirror half of them.

    Args:
        images: ``(N, C, H, W)``.
        generator: everything is drawn from it.
        shift: at most, each way.
        mirror: False leaves left and right alone.
    """
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (shift,) * 4)
    dy, dx = (torch.randint(0, 2 * shift + 1, (count, 1), generator=generator) for _ in range(2))
    rows = (dy + torch.arange(height)).to(images.device)
    columns = dx + torch.arange(width)
    if mirror:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    columns = columns.to(images.device)
    index = torch.arange(count, device=images.device)
    shifted = padded[index[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    # Contiguous: the CPU backward pass of torch 2.13 corrupts its heap on this stride order with 6 or 11 channels.
    return shifted.contiguous()
