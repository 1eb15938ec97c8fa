# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from plinio_deploy.recipes.augment import shift_and_mirror


def test_augmentation_moves_and_mirrors_images_and_keeps_their_values() -> None:
    images = torch.arange(1.0, 1 + 8 * 6 * 6).reshape(8, 1, 6, 6)
    moved = shift_and_mirror(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    for before, after in zip(images, moved, strict=True):
        assert set(after.flatten().tolist()) <= {0.0, *before.flatten().tolist()}
    assert not torch.equal(moved, images)
    again = shift_and_mirror(images, torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)


def test_without_mirroring_neighbours_stay_in_order() -> None:
    images = torch.arange(1.0, 1 + 64 * 6).reshape(64, 1, 1, 6)
    moved = shift_and_mirror(images, torch.Generator().manual_seed(0), 2, mirror=False)
    for row in moved.reshape(64, 6):
        kept = row[row > 0].tolist()
        assert kept == sorted(kept)
