# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose codes are added to another tensor while they lie in scratch: no arena for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, named, same_layout
from plinio_deploy.codegen.liveness import round_up
from plinio_deploy.codegen.ops.add import AddPlain
from plinio_deploy.codegen.ops.conv_dsp import ConvDsp
from plinio_deploy.codegen.ops.conv_winograd import PATCHES, ConvWinograd, ConvWinogradScratch, for_patches
from plinio_deploy.codegen.pack import Array
from plinio_deploy.network import Add, AddRescale

_PER_ELEMENT = 9.0
"""Instructions of an addition, the store and the load of the convolution's code included."""


@dataclass(frozen=True)
class Added:
    """How codes are added.

    Attributes:
        names: C names of the codes of the convolution and of the other tensor.
        code: C for the code of their sum.
        ctype: of the sum.
    """

    names: tuple[str, str]
    code: str
    ctype: str


def able(site: Site) -> bool:
    """Whether a site is an add of bytes, of our flavour, with its convolution."""
    if site.producer is None or not isinstance(site.op, Add) or not isinstance(site.op.rescale, AddRescale):
        return False
    return all(tensor.bits == 8 for tensor in (site.producer.output, site.inputs[1], site.output))


def producer(site: Site) -> Site:
    """The convolution's own site."""
    assert site.producer is not None
    return site.producer


def added(site: Site, emitter: Emitter) -> Added:
    """How codes of the convolution are added to others."""
    assert isinstance(site.op, Add)
    first = site.op.inputs[0] == producer(site).output.name
    code = str(AddPlain().variables(site, emitter)["code"])
    return Added(("a", "b") if first else ("b", "a"), code, emitter.ctype(site.output))


class ConvAdd(Kernel):
    """A convolution's kernel and additions.

    Attributes:
        own: executes the convolution.
    """

    absorbs: ClassVar[bool] = True
    own: ClassVar[Kernel]

    def handles(self, site: Site) -> bool:
        """Adds of bytes to what the convolution's kernel computes."""
        return able(site) and self.own.handles(producer(site))

    def cost(self, site: Site) -> float:
        """The convolution and the additions."""
        return self.own.cost(producer(site)) + _PER_ELEMENT * site.output.elements

    def scratch_bytes(self, site: Site) -> int:
        """The convolution's."""
        return self.own.scratch_bytes(producer(site))

    def in_place(self, site: Site) -> tuple[int, ...]:
        """The tensor that codes are added to, unless the convolution reads it, too."""
        return (1,) if site.may_alias and same_layout(site.inputs[1], site.output) else ()

    def arrays(self, site: Site) -> tuple[Array, ...]:
        """The convolution's."""
        return self.own.arrays(producer(site))

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """Those of the convolution's own template, and how codes are added."""
        own = producer(site)
        found = self.own.variables(own, emitter)
        return {**found, "inputs": own.inputs, "output": own.output, "added": added(site, emitter)}


class ConvDspAdd(ConvAdd):
    """`ConvDsp`, two pixels at a time."""

    name: ClassVar[str] = "conv_dsp_add"
    template: ClassVar[str | None] = "ops/conv_dsp_add.c.j2"
    parts: ClassVar[str | None] = ConvDsp.parts
    own: ClassVar[Kernel] = ConvDsp()

    def scratch_bytes(self, site: Site) -> int:
        """The convolution's, and codes of two pixels."""
        return self._staged(site) + 2 * site.output.channels

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:
        """See ``templates/ops/conv_dsp_add.c.j2``."""
        return {**super().variables(site, emitter), "staged": self._staged(site)}

    def _staged(self, site: Site) -> int:
        return round_up(super().scratch_bytes(site), 4)


class _Staged(ConvWinograd):
    """Outputs go to scratch first."""

    def _staged(self, site: Site) -> bool:  # noqa: ARG002 - always
        return True


class _StagedScratch(_Staged, ConvWinogradScratch):
    """The same, weights transformed while the code runs."""


class ConvWinogradAdd(ConvAdd):
    """`ConvWinograd`, 2 x 4 outputs of four channels at a time."""

    name: ClassVar[str] = "conv_winograd_add"
    template: ClassVar[str | None] = "ops/conv_winograd_add.c.j2"
    parts: ClassVar[str | None] = ConvWinograd.parts
    own: ClassVar[Kernel] = _Staged()
    on_request: ClassVar[bool] = True


def _winograd_add(patches: int) -> ConvWinogradAdd:
    """`ConvWinogradScratch`, likewise."""
    own = for_patches(_StagedScratch, "conv_winograd_scratch", patches)()
    name = named("conv_winograd_scratch_add", {"patches": patches})
    made: type[ConvWinogradAdd] = type("ConvWinogradScratchAdd", (ConvWinogradAdd,), {"name": name, "own": own})
    return made()


KERNELS = (ConvDspAdd(), ConvWinogradAdd(), *map(_winograd_add, PATCHES))
