# SPDX-License-Identifier: Apache-2.0
"""Verb `run`: the whole line, from a recipe to the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success, summary_table
from plinio_deploy.console import Terminal


@options.verb
def run(
    terminal: Terminal,
    recipe: options.Recipe,
    *,
    target: options.Targets,
    out: options.Out = options.DEFAULT_OUT,
    samples: options.Samples = 0,
    trace_samples: options.TraceSamples = options.DEFAULT_TRACE_SAMPLES,
    prefix: options.Prefix = options.DEFAULT_PREFIX,
    training: options.TrainingOptions,
    search: options.SearchOptions,
    tune: options.Tune = False,
) -> None:
    """Train, search if asked to, integerize, generate, build, measure and report, in one go.

    Stages whose inputs have not changed are kept, so the same command goes on after an interruption.

    Example: plinio-deploy run digits --methods supernet,pit,mps --max-flash 12k --target cortex-m4
    """
    from plinio_deploy.cli import requests
    from plinio_deploy.pipeline.line import run_line

    request = replace(
        requests.from_recipe(out, recipe, training, search, target),
        prefix=prefix,
        samples=samples,
        trace_samples=trace_samples,
        tune=tune,
    )
    result = run_line(request, terminal)
    page: Path = request.workspace.report.path / "report.html"
    terminal.table(summary_table(result.measurements, terminal.width))
    terminal.print(f"Report: {page}")
    terminal.document(
        success(
            "run",
            out=str(out),
            report=str(page),
            stages=result.stages,
            measurements=result.measurements,
        )
    )
