# SPDX-License-Identifier: Apache-2.0
"""The exception tree."""

from __future__ import annotations

import pytest

from plinio_deploy import errors


def leaves() -> list[type[errors.PlinioDeployError]]:
    found: list[type[errors.PlinioDeployError]] = []
    waiting: list[type[errors.PlinioDeployError]] = [errors.PlinioDeployError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        found.append(kind)
    return found


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_every_class_is_drawn_in_the_docstring(kind: type[errors.PlinioDeployError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


def test_exit_codes_are_those_of_the_design() -> None:
    codes = {kind.__name__: kind.exit_code for kind in errors.PlinioDeployError.__subclasses__()}
    assert codes == {
        "CheckFailed": 1,
        "UsageError": 2,
        "ToolMissing": 3,
        "UnsupportedModel": 4,
        "DoesNotFit": 5,
        "DeviceError": 6,
    }


def test_a_message_says_what_where_got_expected_and_next() -> None:
    error = errors.DoesNotFit("too big", where="layer a", got=5, expected="at most 4", hints=("make it smaller",))
    assert str(error).splitlines() == [
        "too big",
        "  where:    layer a",
        "  got:      5",
        "  expected: at most 4",
        "  Things to try:",
        "    - make it smaller",
    ]
    assert error.as_dict()["exit_code"] == 5
    assert error.as_dict()["kind"] == "DoesNotFit"


def test_parts_that_are_not_known_are_left_out() -> None:
    assert str(errors.UsageError("bad")) == "bad"
