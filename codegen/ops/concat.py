# SPDX-License-Identifier: Apache-2.0
"""Concatenation, in plain C."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar

from plinio_deploy.codegen.emit import Emitter
from plinio_deploy.codegen.kernel import Kernel, Site, elements_cost
from plinio_deploy.network import Concat, Tensor


def _chunk(tensor: Tensor, axis: int) -> int:
    """Bytes of one tensor below the axis: what is copied at a time."""
    return math.prod(tensor.shape[axis:-1]) * tensor.row_bytes


def _whole_bytes(site: Site, axis: int) -> bool:
    """Whether every input but the last ends on a byte where it meets the next."""
    if axis < len(site.output.shape) - 1:
        return True
    return all(tensor.channels * tensor.bits % 8 == 0 for tensor in site.inputs[:-1])


class ConcatBytes(Kernel):
    """Copies of whole bytes."""

    name: ClassVar[str] = "concat_bytes"
    template: ClassVar[str | None] = "ops/concat_bytes.c.j2"

    def handles(self, site: Site) -> bool:
        """Concats whose pieces start at whole bytes."""
        return isinstance(site.op, Concat) and _whole_bytes(site, site.op.axis)

    def cost(self, site: Site) -> float:
        """About an instruction per byte."""
        return float(site.output.nbytes)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:  # noqa: ARG002 - copies need no helper
        """See ``templates/ops/concat_bytes.c.j2``."""
        assert isinstance(site.op, Concat)
        axis = site.op.axis
        chunks = [_chunk(tensor, axis) for tensor in site.inputs]
        return {
            "outer": math.prod(site.output.shape[:axis]),
            "chunks": list(zip(chunks, [0, *accumulate(chunks)][:-1], strict=True)),
            "chunk": sum(chunks),
        }


class ConcatLanes(Kernel):
    """Code by code, where pieces start within a byte."""

    name: ClassVar[str] = "concat_lanes"
    template: ClassVar[str | None] = "ops/concat_lanes.c.j2"

    def handles(self, site: Site) -> bool:
        """Concats along the channels."""
        return isinstance(site.op, Concat) and site.op.axis == len(site.output.shape) - 1

    def cost(self, site: Site) -> float:
        """Unpack and pack each code."""
        return elements_cost(site, 14.0)

    def variables(self, site: Site, emitter: Emitter) -> Mapping[str, object]:  # noqa: ARG002 - the template loads
        """See ``templates/ops/concat_lanes.c.j2``."""
        starts = [0, *accumulate(tensor.channels for tensor in site.inputs)]
        return {"rows": math.prod(site.output.shape[:-1]), "starts": starts[:-1]}


KERNELS = (ConcatBytes(), ConcatLanes())
