# SPDX-License-Identifier: Apache-2.0
"""From an integer network to a C project: memory plan, kernel choice, templates.

In the order in which a network passes through::

    registry, kernel, ops/   which kernels exist; the cheapest that handles each layer is taken
    schedule, fusion         other kernels, bands of rows, adds along with convolutions, where they are asked for
    requested                the schedule of kernels that spend memory, for who asks for them
    bands, streaming         which rows of which layers are computed in turns; the choice under a limit on the arena
    lower                    ops become steps; reshapes become aliases; outputs are written in place where that is legal
    liveness, memory         which buffers live when; where each lies in the static arena
    pack                     weights as bytes
    emit, render, layout     C expressions, Jinja templates, indentation
    layers, banded           the functions of layers and their calls, as a whole or band by band
    generate, manifest       the files of the project, and their description for the next stage
"""

from __future__ import annotations

from plinio_deploy.codegen.generate import Options, Vectors, generate
from plinio_deploy.codegen.manifest import Manifest
from plinio_deploy.codegen.schedule import Schedule

__all__ = ["Manifest", "Options", "Schedule", "Vectors", "generate"]
