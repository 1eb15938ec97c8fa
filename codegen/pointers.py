# SPDX-License-Identifier: Apache-2.0
"""C expressions for where tensors lie."""

from __future__ import annotations

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.expression import add, mul
from plinio_deploy.codegen.lower import Place
from plinio_deploy.network import Tensor


def pointer(place: Place, tensor: Tensor, *, packed: bool, const: bool, step: int = 0, band: int = 0) -> str:
    """The address of a tensor, or of some rows of it.

    Args:
        place: where.
        tensor: gives the type.
        packed: whether inputs and outputs are raw bytes back to back, ``input`` and ``output``; else ``in0``, ``out0``.
        const: whether it is only read.
        step: bytes by which each band lies further on than the one before it.
        band: number of the band that `place` is of.
    """
    own = place.kind != "arena" and not packed
    name = f"{'in' if place.kind == 'input' else 'out'}{place.index}" if own else place.kind
    raw = add(name, mul("band", step), (place.within if own else place.offset) - step * band)
    if own or Emitter.ctype(tensor) == "uint8_t":
        return raw
    return f"({'const ' if const else ''}int8_t *){f'({raw})' if raw != name else raw}"
