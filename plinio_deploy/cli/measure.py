# SPDX-License-Identifier: Apache-2.0
"""Verb `measure`: run the firmware on its target and compare every integer."""

from __future__ import annotations

from plinio_deploy.cli import options
from plinio_deploy.cli.summary import success, summary_table
from plinio_deploy.console import Terminal


@options.verb
def measure(
    terminal: Terminal,
    target: options.Targets,
    out: options.Out = options.DEFAULT_OUT,
    samples: options.Samples = 0,
    trace_samples: options.TraceSamples = options.DEFAULT_TRACE_SAMPLES,
    elf: options.Elf = None,
    symbols: options.Symbols = "",
) -> None:
    """Run the firmware, compare it with the interpreter, count cycles and bytes.

    With --elf: count the named functions of any program that ends by semihosting, ours or not.

    Example: plinio-deploy measure --target cortex-m4 --out out
    """
    if elf is not None:
        from plinio_deploy.cli.functions import measure_program

        measure_program(terminal, elf, symbols, target)
        return
    from plinio_deploy.pipeline import line
    from plinio_deploy.pipeline.request import Request
    from plinio_deploy.pipeline.workspace import Workspace

    request = Request(Workspace(out), targets=tuple(target), samples=samples, trace_samples=trace_samples)
    measurements = line.measure_only(request, terminal)
    terminal.table(summary_table(measurements, terminal.width))
    terminal.document(success("measure", out=str(out), measurements=measurements))
