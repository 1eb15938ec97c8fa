# SPDX-License-Identifier: Apache-2.0
"""Jinja templates to C text."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jinja2

from plinio_deploy.codegen.emit import Emitter, Helpers, shape_of
from plinio_deploy.codegen.expression import add, mul
from plinio_deploy.codegen.layout import columns, pieces, tidy


@functools.cache
def environment() -> jinja2.Environment:
    """The environment of all templates; a name that a template uses and nobody gives is an error."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("plinio_deploy.codegen", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - this is C, not HTML
    )
    env.globals["add"] = add
    env.globals["mul"] = mul
    env.filters["columns"] = columns
    env.filters["pieces"] = pieces
    env.filters["shape"] = shape_of
    return env


def render(template: str, variables: Mapping[str, object]) -> str:
    """A template's text, indented if it is C."""
    text = environment().get_template(template).render(variables)
    return tidy(text) if template.endswith((".c.j2", ".h.j2")) else text


def helpers(prefix: str, used: Helpers) -> list[str]:
    """The text of all helpers in use and of those that they use, callees first, else by name."""
    texts: dict[str, str] = {}

    def visit(name: str) -> None:
        if name in texts:
            return
        callees = Helpers()
        variables = {"name": f"{prefix}_{name}", "e": Emitter(prefix, "", callees)}
        text = environment().get_template(f"helpers/{name}.h.j2").render(variables)
        for callee in sorted(callees.used):
            visit(callee)
        texts[name] = text

    for name in sorted(used.used):
        visit(name)
    return list(texts.values())
