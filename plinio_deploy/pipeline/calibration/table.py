# SPDX-License-Identifier: Apache-2.0
"""The text of a cost table: one row per line, so that a new fit makes a diff that can be read."""

from __future__ import annotations

import json
from typing import Any

from plinio_deploy.targets.luts import Lut


def dump(lut: Lut) -> str:
    """JSON; equal tables make equal text."""
    document = lut.model_dump(mode="json", by_alias=True, exclude_none=True)
    return _text(document, 0) + "\n"


def _text(value: Any, depth: int) -> str:
    """JSON with line breaks in the outer levels only."""
    if depth > 2 or not isinstance(value, dict | list) or not value or not _nested(value):
        return json.dumps(value)
    inner, outer = " " * (depth + 1), " " * depth
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {_text(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + line for line in lines) + "\n" + outer + "}"
    lines = [_text(item, depth + 1) for item in value]
    return "[\n" + ",\n".join(inner + line for line in lines) + "\n" + outer + "]"


def _nested(value: dict[str, Any] | list[Any]) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(isinstance(item, dict | list) for item in items)
