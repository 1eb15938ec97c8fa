# SPDX-License-Identifier: Apache-2.0
"""Which kernels a tuner measures for each layer."""

from __future__ import annotations

from plinio_deploy.codegen import registry
from plinio_deploy.codegen.lower import lower
from plinio_deploy.codegen.requested import Requested
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.network import Network
from plinio_deploy.targets.schema import Target


def candidates(
    network: Network,
    target: Target,
    *,
    factor: float | None = None,
    base: Schedule | None = None,
    asked: Requested | None = None,
) -> dict[str, tuple[str, ...]]:
    """The kernels that could execute each layer, the default one first, by name of the layer in execution order.

    Args:
        network: the integer network.
        target: whose features they may use.
        factor: leaves out those estimated to cost more than so many times the default, and those on request that were
            not asked for, which spend memory that nobody has set a limit on; ``None`` leaves out none but those on
            request that were ruled out.
        base: says which adds execute a convolution along with them, and which layers run in bands of rows.
        asked: kernels on request that were asked for or ruled out.
    """
    found, asked = {}, asked or Requested()
    for step in lower(network, "net", frozenset(target.features), base).steps:
        able = [kernel for kernel in registry.candidates(step.site) if kernel.template is not None]
        able = [item for item in able if asked.allows(item, otherwise=factor is None)]
        able = [item for item in able if all(map(item.handles, step.sites))]
        most = float("inf") if factor is None else factor * step.kernel.cost(step.site)
        found[step.site.op.name] = tuple(
            kernel.name for kernel in able if kernel.name == step.kernel.name or kernel.cost(step.site) <= most
        )
    return found
