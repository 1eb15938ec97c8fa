# SPDX-License-Identifier: Apache-2.0
"""Which precisions are searched where: PLiNIO's dictionary, with overrides by module path.

    qinfo = get_default_qinfo(w_precision=(2, 4, 8), a_precision=(4, 8))
    qinfo["block1.conv"] = {"weight": {"search_precision": (8,)}}         # the rest as in "layer_default"
    qinfo["block1.add"] = {"output": {"search_precision": (8,)}}          # an operation: its module's path and its name
    mps = MPS(model, qinfo=qinfo, ...)

Keys of PLiNIO's that choose a quantizer class are accepted and mean nothing here: there is one quantizer for weights
and one for activations.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from plinio_deploy.errors import UsageError

QInfo: TypeAlias = "Mapping[str, Any]"

WEIGHT_WIDTHS = (0, 2, 4, 8)
ACTIVATION_WIDTHS = (2, 4, 8)


class MPSType(Enum):
    """Whether the weights of a layer share one precision, or each output channel has its own."""

    PER_LAYER = "per_layer"
    PER_CHANNEL = "per_channel"


def get_default_qinfo(
    w_precision: Sequence[int] = (2, 4, 8),
    a_precision: Sequence[int] = (2, 4, 8),
    input_precision: Sequence[int] = (8,),
) -> dict[str, Any]:
    """A new dictionary that searches the same precisions everywhere.

    Args:
        w_precision: bits of weights; 0 prunes channels (per channel only).
        a_precision: bits of activations.
        input_precision: bits of the network's inputs.
    """
    return {
        "layer_default": {
            "output": {"search_precision": tuple(a_precision)},
            "weight": {"search_precision": tuple(w_precision)},
            "bias": {"precision": 32},
        },
        "input_default": {"search_precision": tuple(input_precision)},
    }


class Space:
    """The precisions of every place, checked.

    Args:
        qinfo: see the module.
        paths: of all layers and operations of the network.

    Raises:
        UsageError: a key names nothing, or precisions are repeated or unknown.
    """

    def __init__(self, qinfo: QInfo, paths: Collection[str]) -> None:
        self._own = copy.deepcopy({key: value for key, value in qinfo.items() if value is not None})
        for key in qinfo:
            if key in ("layer_default", "input_default") or key in paths:
                continue
            close = difflib.get_close_matches(key, sorted(paths), n=3)
            hints = [f"Did you mean {name!r}?" for name in close] or ["Places: " + ", ".join(sorted(paths))]
            raise UsageError("a key of qinfo names no layer", where="qinfo", got=key, hints=hints)

    def weights(self, path: str) -> tuple[int, ...]:
        """Bits of the weights of the layer at ``path``, ascending."""
        return self._read(path, "weight", WEIGHT_WIDTHS)

    def outputs(self, path: str) -> tuple[int, ...]:
        """Bits of the output of the layer or operation at ``path``, ascending."""
        return self._read(path, "output", ACTIVATION_WIDTHS)

    def inputs(self) -> tuple[int, ...]:
        """Bits of the network's inputs, ascending."""
        found = self._own.get("input_default", {}).get("search_precision", (8,))
        return checked(found, "input_default", ACTIVATION_WIDTHS)

    def _read(self, path: str, part: str, allowed: tuple[int, ...]) -> tuple[int, ...]:
        own = self._own.get(path, {}).get(part) or {}
        default = self._own.get("layer_default", {}).get(part) or {}
        bits = own.get("search_precision", default.get("search_precision", (8,)))
        return checked(bits, f"qinfo[{path!r}][{part!r}]", allowed)


def checked(bits: Sequence[int], where: str, allowed: tuple[int, ...]) -> tuple[int, ...]:
    """Ascending widths.

    Raises:
        UsageError: none, one twice, or one that no kernel exists for.
    """
    values = tuple(bits)
    if not values or len(set(values)) != len(values) or not set(values) <= set(allowed) or values == (0,):
        expected = "different widths out of " + ", ".join(map(str, allowed))
        raise UsageError("bad search_precision", where=where, got=values, expected=expected)
    return tuple(sorted(values))
