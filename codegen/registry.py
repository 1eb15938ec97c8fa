# SPDX-License-Identifier: Apache-2.0
"""Every kernel that lies in `plinio_deploy.codegen.ops`, and the choice among them."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Sequence

from plinio_deploy.codegen import ops
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.errors import UnsupportedModel


@functools.cache
def kernels() -> tuple[Kernel, ...]:
    """All kernels, by module name, in the order of each module's ``KERNELS``."""
    found: list[Kernel] = []
    for name in sorted(module.name for module in pkgutil.iter_modules(ops.__path__)):
        module = importlib.import_module(f"{ops.__name__}.{name}")
        found.extend(getattr(module, "KERNELS", ()))
    return tuple(found)


def candidates(site: Site, pieces: Sequence[Site] = ()) -> tuple[Kernel, ...]:
    """The kernels that handle a site, cheapest first, those on request last; equal costs by name.

    Args:
        site: of a layer.
        pieces: of the bands that it runs in, if it does; kernels have to handle each of them, too.
    """
    absorbs = site.producer is not None
    able = (kernel for kernel in kernels() if kernel.absorbs == absorbs and all(map(kernel.handles, (site, *pieces))))
    return tuple(sorted(able, key=lambda kernel: (kernel.on_request, kernel.cost(site), kernel.name)))


def choose(site: Site, pieces: Sequence[Site] = ()) -> Kernel:
    """The cheapest kernel for a site.

    Args:
        site: of a layer.
        pieces: as for `candidates`.

    Raises:
        UnsupportedModel: no kernel handles it.
    """
    able = candidates(site, pieces)
    if not able:
        raise UnsupportedModel(
            f"no kernel executes this {site.op.kind}",
            where=site.op.name,
            got=f"inputs {[(t.shape, t.bits) for t in site.inputs]}, output {(site.output.shape, site.output.bits)}",
            hints=("codegen/README.md tells how to add a kernel",),
        )
    return able[0]
