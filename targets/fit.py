# SPDX-License-Identifier: Apache-2.0
"""Says by how much a firmware is too large, and which layers make it so."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plinio_deploy.errors import DoesNotFit
from plinio_deploy.targets.elf import Image
from plinio_deploy.targets.schema import Memory, Region, Target

SHOWN_LAYERS = 5
_ROOMY = 1 << 26


@dataclass(frozen=True)
class LayerSize:
    """What one layer takes of a firmware.

    Attributes:
        name: the layer's name in the network.
        constants: bytes of flash for weights, biases and multipliers.
        code: bytes of flash for its function.
        live: bytes of the arena that hold live tensors while it runs.
    """

    name: str
    constants: int
    code: int
    live: int


def overflowed(linker_text: str) -> bool:
    """Whether the GNU linker's messages say that a memory region is full."""
    return re.search(r"region `\w+' overflowed by|will not fit in region", linker_text) is not None


def without_bounds(memory: Memory) -> Memory:
    """The same map with regions that anything fits into; for a file that is only looked at."""
    return Memory.model_construct(
        flash=Region.model_construct(base=memory.flash.base, size=_ROOMY),
        ram=Region.model_construct(base=memory.ram.base, size=_ROOMY),
        stack=memory.stack,
        window=memory.window,
    )


def error(target: Target, memory: Memory, image: Image, layers: Sequence[LayerSize], arena_bytes: int) -> DoesNotFit:
    """The error for a firmware that `image` describes.

    Args:
        target: what it was built for.
        memory: the target's memory map.
        image: the firmware, linked without bounds.
        layers: what each layer takes.
        arena_bytes: size of the arena, which is part of the RAM.
    """
    flash, ram = image.flash_bytes, image.ram_bytes + memory.stack
    parts: list[str] = []
    hints: list[str] = []
    tables: list[str] = []
    if flash > memory.flash.size:
        parts.append(f"flash by {flash - memory.flash.size} bytes (needs {flash}, has {memory.flash.size})")
        hints.append("search with a smaller size budget, or give layers fewer weight bits")
        tables += _largest("flash", layers, _flash, "{0.constants} bytes of weights, {0.code} of code")
    if ram > memory.ram.size:
        parts.append(
            f"RAM by {ram - memory.ram.size} bytes (needs {ram}, has {memory.ram.size}; "
            f"the arena is {arena_bytes}, the stack {memory.stack})"
        )
        hints.append("use a smaller input, fewer channels in the first layers, or fewer activation bits")
        tables += _largest("RAM", layers, lambda layer: layer.live, "{0.live} bytes of tensors alive")
    hints.append(f"or name a target with more memory than {target.name} (plinio-deploy targets list)")
    return DoesNotFit(
        f"the firmware does not fit {target.name}: it exceeds the " + " and the ".join(parts),
        where=target.source,
        got="\n".join(tables).lstrip() or None,
        hints=hints,
    )


def _flash(layer: LayerSize) -> int:
    return layer.constants + layer.code


def _largest(memory: str, layers: Sequence[LayerSize], size: Callable[[LayerSize], int], form: str) -> list[str]:
    """A headline and the layers that take most of a memory, largest first."""
    largest = sorted((layer for layer in layers if size(layer) > 0), key=size, reverse=True)[:SHOWN_LAYERS]
    if not largest:
        return []
    return [f"    largest in {memory}:", *(f"      {layer.name}: {form.format(layer)}" for layer in largest)]
