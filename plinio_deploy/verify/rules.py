# SPDX-License-Identifier: Apache-2.0
"""How a broken rule is reported."""

from __future__ import annotations

from typing import NoReturn

from plinio_deploy.errors import InvalidNetwork


def fail(where: str, what: str, got: object, expected: object) -> NoReturn:
    """Raise `InvalidNetwork` for the op or tensor ``where``."""
    raise InvalidNetwork(what, where=where, got=got, expected=expected)


def require(condition: bool, where: str, what: str, got: object, expected: object) -> None:
    """`fail` unless ``condition`` holds."""
    if not condition:
        fail(where, what, got, expected)
