# SPDX-License-Identifier: Apache-2.0
"""Reshape: mostly nothing, sometimes a copy, rarely another packing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost, same_bytes
from plinio_deploy.network import Reshape


class ReshapeAlias(Kernel):
    """The output is the input: no code."""

    name: ClassVar[str] = "reshape_alias"
    template: ClassVar[str | None] = None

    def handles(self, site: Site) -> bool:
        """Reshapes that keep every byte, where the output need not lie apart from the input."""
        return isinstance(site.op, Reshape) and site.may_alias and same_bytes(site.inputs[0], site.output)

    def cost(self, site: Site) -> float:  # noqa: ARG002 - free anywhere
        """Nothing."""
        return 0.0

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:  # noqa: ARG002 - no template
        """Nothing."""
        return {}


class ReshapeCopy(ReshapeAlias):
    """The same bytes in another place: from a caller's input to a caller's output."""

    name: ClassVar[str] = "reshape_copy"
    template: ClassVar[str | None] = "ops/reshape_copy.c.j2"

    def handles(self, site: Site) -> bool:
        """Reshapes that keep every byte."""
        return isinstance(site.op, Reshape) and same_bytes(site.inputs[0], site.output)

    def cost(self, site: Site) -> float:
        """About an instruction per byte."""
        return float(site.output.nbytes)


class ReshapePack(ReshapeAlias):
    """Code by code, where rows are padded to whole bytes and their length changes."""

    name: ClassVar[str] = "reshape_pack"
    template: ClassVar[str | None] = "ops/reshape_pack.c.j2"

    def handles(self, site: Site) -> bool:
        """Every reshape."""
        return isinstance(site.op, Reshape)

    def cost(self, site: Site) -> float:
        """Unpack and pack each code, with divisions for the addresses."""
        return elements_cost(site, 30.0)


KERNELS = (ReshapeAlias(), ReshapeCopy(), ReshapePack())
