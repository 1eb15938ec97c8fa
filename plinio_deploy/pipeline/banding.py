# SPDX-License-Identifier: Apache-2.0
"""A limit on RAM: where the firmware is above it, first layers run in bands of rows."""

from __future__ import annotations

import math
from dataclasses import replace

from plinio_deploy.codegen import Options
from plinio_deploy.codegen.streaming import within
from plinio_deploy.console import Terminal
from plinio_deploy.errors import DoesNotFit
from plinio_deploy.network import Network
from plinio_deploy.pipeline import budget
from plinio_deploy.pipeline.request import Limits
from plinio_deploy.targets.schema import Target


def with_bands(network: Network, target: Target, limits: Limits, options: Options, terminal: Terminal) -> Options:
    """The options for a target, with bands in the schedule if the firmware misses the limit on RAM without.

    Args:
        network: the integer network.
        target: what the firmware is for.
        limits: of the firmware; only that on RAM counts here.
        options: of the code generator.
        terminal: told what the least arena is if bands do not suffice.
    """
    options = replace(options, isa=target.features)
    if limits.ram is None:
        return options
    sizes = budget.sizes(network, (target,), options)
    over = budget.excess(sizes, Limits(ram=limits.ram), slack=0.0).get("ram", 0.0)
    if over <= 0:
        return options
    max_arena = sizes[target.name].arena - math.ceil(over)
    try:
        schedule = within(network, frozenset(target.features), options.schedule, max_arena)
    except DoesNotFit as error:
        terminal.note(f"{target.name}: {error}")
        return options
    return replace(options, schedule=schedule)
