# SPDX-License-Identifier: Apache-2.0
"""Adds that execute the convolution before them: its codes are added while they lie in scratch, and need no arena.

The codes are those of the convolution on its own, rounded and saturated, so that the sum is the same to the bit. A
schedule asks for it by giving an add a kernel that absorbs its producer::

    {"schema": 1, "layers": {"block1_add": {"kernel": "conv_dsp_add"}}}

The convolution is then executed in the add's place, and the schedule's entry of its own, if there is one, says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from plinio_deploy.codegen import registry
from plinio_deploy.codegen.kernel import Kernel, Site
from plinio_deploy.codegen.schedule import Schedule
from plinio_deploy.network import Add, Conv, Network, Op, Reshape, op_inputs


def fused(network: Network, isa: frozenset[str], schedule: Schedule) -> Mapping[str, Site]:
    """The sites of adds that are scheduled with the convolution before them, by the name of the add."""
    absorbing = {kernel.name: kernel for kernel in registry.kernels() if kernel.absorbs}
    found: dict[str, Site] = {}
    for op in network.ops:
        wanted = schedule.layers.get(op.name)
        if isinstance(op, Add) and wanted is not None and wanted.name in absorbing:
            taken = {site.producer.op.name for site in found.values() if site.producer is not None}
            site = _site(network, op, isa, absorbing[wanted.name], taken)
            if site is not None:
                found[op.name] = site
    return found


def everywhere(network: Network, isa: frozenset[str]) -> Schedule:
    """The schedule of every add that is able to execute a convolution along with it; the others are not in it."""
    asked = [kernel for kernel in registry.kernels() if kernel.absorbs and not kernel.on_request]
    found: dict[str, str] = {}
    for kernel in asked:
        adds = [op.name for op in network.ops if isinstance(op, Add) and op.name not in found]
        tried = Schedule.of({**found, **dict.fromkeys(adds, kernel.name)})
        found.update({name: tried.layers[name].name for name in fused(network, isa, tried)})
    return Schedule.of(found)


def absorbed(sites: Mapping[str, Site]) -> set[str]:
    """Names of the convolutions that are no steps of their own."""
    return {site.producer.op.name for site in sites.values() if site.producer is not None}


def _site(network: Network, add: Add, isa: frozenset[str], kernel: Kernel, taken: set[str]) -> Site | None:
    writers = {op.output: op for op in network.ops}
    readers = Counter(name for op in network.ops for name in op_inputs(op))
    for name, other in (add.inputs, add.inputs[::-1]):
        producer = writers.get(name)
        if not isinstance(producer, Conv) or readers[name] != 1 or name in network.outputs or producer.name in taken:
            continue
        own = Site.of(network, producer, isa, may_alias=False)
        distinct = _bytes_of(writers, producer.input) != _bytes_of(writers, other)
        tensors = (network.tensors[producer.input], network.tensors[other])
        site = Site(add, tensors, network.tensors[add.output], own.macs, isa, may_alias=distinct, producer=own)
        if kernel.handles(site):
            return site
    return None


def _bytes_of(writers: Mapping[str, Op], name: str) -> str:
    """The tensor whose bytes a tensor may be, by way of reshapes."""
    op = writers.get(name)
    return _bytes_of(writers, op.input) if isinstance(op, Reshape) else name
