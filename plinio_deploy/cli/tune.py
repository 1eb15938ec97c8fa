# SPDX-License-Identifier: Apache-2.0
"""Verb `tune`: measure the kernels of each layer on a target and choose."""

from __future__ import annotations

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal


@options.verb
def tune(
    terminal: Terminal,
    target: options.Targets,
    out: options.Out = options.DEFAULT_OUT,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    max_flash: options.MaxFlash = None,
    max_ram: options.MaxRam = None,
    *,
    kernels: options.KernelOptions,
) -> None:
    """Measure every kernel that could execute a layer; write the fastest choice that fits to schedule.json.

    With a limit on memory, kernels take part that spend it: all but those ruled out. Without one only those asked for
    do. With --winograd flash weights may be transformed in scratch as well.

    What was measured is kept: the same command goes on after an interruption. `generate --schedule` takes the file.

    Example: plinio-deploy tune --out out --target cortex-m4 --max-flash 64k
    """
    from plinio_deploy.codegen.schedule import FILE
    from plinio_deploy.pipeline import line
    from plinio_deploy.pipeline.request import Limits, Request, Search
    from plinio_deploy.pipeline.workspace import Workspace

    search = Search(limits=Limits(max_flash, max_ram))
    request = Request(Workspace(out), targets=tuple(target), prefix=prefix, search=search, kernels=kernels.asked())
    tuned = {}
    for name, record in line.tune_only(request, terminal).items():
        path = request.workspace.tune(name).path / FILE
        before, after, unit = record.facts["default"], record.facts["tuned"], record.facts["unit"]
        terminal.print(f"{name}: {after['total']:,} {unit}, {before['total']:,} by default. Schedule: {path}")
        tuned[name] = {**record.facts, "schedule": str(path)}
    terminal.document(success("tune", out=str(out), targets=tuned))
