# SPDX-License-Identifier: Apache-2.0
"""Verb `generate`: from the integer network to a C project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success
from plinio_deploy.console import Terminal


@options.verb
def generate(
    terminal: Terminal,
    out: options.Out = options.DEFAULT_OUT,
    network: Annotated[
        Path | None,
        typer.Option(
            "--network",
            metavar="FOLDER",
            help="Holds network.json and weights.safetensors.",
            show_default="integerize, in the folder of the run",
        ),
    ] = None,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME",
            help="Choose kernels for this target's instruction set.",
            show_default="portable C",
        ),
    ] = None,
    schedule: Annotated[
        Path | None,
        typer.Option(
            "--schedule",
            metavar="FILE",
            help="Kernels of layers, as `tune` writes them.",
            show_default="the cheapest by estimate",
        ),
    ] = None,
    max_arena: Annotated[
        int | None,
        typer.Option(
            "--max-arena",
            metavar="BYTES",
            parser=options.size,
            help="Most working memory: above it first layers run in bands of rows.",
        ),
    ] = None,
    *,
    kernels: options.KernelOptions,
) -> None:
    """Write C for an integer network. The same network gives the same bytes, everywhere.

    Kernels that spend memory are taken where they are asked for and faster by estimate. For Winograd's method in
    scratch working memory may grow by a tenth.

    Example: plinio-deploy generate --out out --prefix digits --target cortex-m4
    """
    from plinio_deploy.pipeline import line
    from plinio_deploy.pipeline.generate import PROJECT
    from plinio_deploy.pipeline.request import Request
    from plinio_deploy.pipeline.workspace import Workspace

    targets = (target,) if target is not None else ()
    request = Request(Workspace(out), targets=targets, prefix=prefix, kernels=kernels.asked())
    record = line.generate_only(request, network, terminal, schedule, max_arena)
    project = request.workspace.generate.path / PROJECT
    terminal.print(f"C project: {project}")
    bands = record.facts["bands"]
    terminal.print(f"Arena: {record.facts['arena_bytes']} bytes")
    if bands is not None:
        where = "{count} bands of {rows} rows from {first} to {last}".format(**bands)
        terminal.print(f"{where}: {bands['recomputed_macs']} MACs repeated, {bands['copied_bytes']} bytes copied")
    terminal.document(success("generate", out=str(out), project=str(project), facts=dict(record.facts)))
