# SPDX-License-Identifier: Apache-2.0
"""Limits on flash, RAM and cycles: what a firmware takes besides its network, and whether it stays within them.

A limit is on what ``measurement.json`` says of the whole ELF file, start-up code and test bench included. That is
stricter than a product needs, which has a main program of its own in place of the bench; the figures of the network
alone stand beside it (``weights_bytes``, ``code_bytes``, ``arena_bytes``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plinio_deploy.codegen import Manifest, Options, generate
from plinio_deploy.codegen.manifest import FILE as MANIFEST
from plinio_deploy.errors import DoesNotFit, UsageError
from plinio_deploy.network import Network
from plinio_deploy.pipeline.build import Project, room_for
from plinio_deploy.pipeline.request import Limits
from plinio_deploy.targets import build as builder
from plinio_deploy.targets import fit
from plinio_deploy.targets.elf import Image
from plinio_deploy.targets.schema import Target

STACK_BYTES = 512
"""Stack that a firmware is taken to use before it has run; the measurement says how much it was."""

SLACK = 1 / 200
"""Share of a limit kept free before fine-tuning: other weights change the code by a few bytes."""


_SMALLER = ("leave --max-cycles out: fast kernels need not fit then, smaller ones take their place",)


@dataclass(frozen=True)
class Sizes:
    """What a firmware takes, before it has run.

    Attributes:
        flash: bytes of the whole ELF file.
        ram: bytes of variables, the arena included, and `STACK_BYTES`.
        constants: bytes of flash that hold weights, biases and multipliers.
        arena: bytes of RAM that hold activations.
    """

    flash: int
    ram: int
    constants: int
    arena: int

    @property
    def overhead(self) -> dict[str, int]:
        """What the network's constants and activations do not explain."""
        return {"flash": self.flash - self.constants, "ram": self.ram - self.arena}


def sizes(network: Network, targets: Sequence[Target], options: Options) -> dict[str, Sizes]:
    """Build for every target into memory without bounds, and look.

    Raises:
        BuildFailed: a compiler refused the generated C.
        OutputError: there is no room for temporary files.
    """
    found = {}
    for target in targets:
        artifact = generate(network, replace(options, isa=target.features), None)
        project = Project(artifact, Manifest.parse(artifact.files[MANIFEST], MANIFEST))
        memory = None if target.memory is None else fit.without_bounds(target.memory)
        roomy = target.model_copy(update={"memory": memory})
        with TemporaryDirectory() as folder, room_for(Path(folder), "free some space, or set TMPDIR to another folder"):
            built = builder.build(artifact, project.inputs, roomy, Path(folder))
        found[target.name] = Sizes(
            built.image.flash_bytes,
            built.image.ram_bytes + STACK_BYTES,
            built.network_constant_bytes,
            project.manifest.arena_bytes,
        )
    return found


def portable(target: Target) -> Target:
    """The same target, for which portable C is generated: several times slower than kernels of its own, but smaller."""
    return target.model_copy(update={"features": ()})


def overhead(found: Mapping[str, Sizes]) -> dict[str, int]:
    """The largest overhead of all targets, by name of the limit."""
    return {name: max(item.overhead[name] for item in found.values()) for name in ("flash", "ram")}


def excess(found: Mapping[str, Sizes], limits: Limits, slack: float = SLACK) -> dict[str, float]:
    """By how many bytes each limit would be missed, over all targets; only those that would be."""
    missed = {}
    for name, limit in limits.given().items():
        if name in ("flash", "ram"):
            most = max(getattr(item, name) for item in found.values())
            if most > limit * (1 - slack):
                missed[name] = most - limit * (1 - slack)
    return missed


def require_room(limits: Limits, taken: Mapping[str, int]) -> None:
    """Refuse limits that leave nothing for the network.

    Raises:
        DoesNotFit: code and bench alone take more.
    """
    for name, limit in limits.given().items():
        if limit <= taken.get(name, 0):
            raise DoesNotFit(
                f"the limit on {name} leaves no room for the network",
                got=f"--max-{name} {limit}",
                expected=f"more than {taken[name]} bytes, which code, start-up and the test bench take",
                hints=(f"raise --max-{name}", *_SMALLER[: limits.cycles is not None]),
            )


def check(measurements: Sequence[Mapping[str, Any]], limits: Limits) -> None:
    """Compare what was measured with the limits.

    Raises:
        DoesNotFit: a firmware takes more; says by how much.
        UsageError: cycles are limited and a target gives none.
    """
    for item in measurements:
        taken = {
            "flash": item["memory"]["flash_bytes"],
            "ram": item["memory"]["ram_bytes"],
            "cycles": item["total"]["cycles"],
        }
        for name, limit in limits.given().items():
            if taken[name] is None:
                raise unmeasured(str(item["target"]), name, limit)
            if taken[name] > limit:
                raise missed(str(item["target"]), name, taken[name], limit)


def unmeasured(target: str, name: str, limit: int) -> UsageError:
    """The error for a limit that nothing can be held against."""
    return UsageError(
        f"nothing measures {name} on {target}",
        where=f"--max-{name}",
        got=limit,
        hints=(f"name a target whose {name} RTL or a model of the core tells (plinio-deploy targets list)",),
    )


def missed(target: str, name: str, taken: float, limit: float) -> DoesNotFit:
    """The error for a limit that is exceeded."""
    unit = "cycles" if name == "cycles" else "bytes"
    return DoesNotFit(
        f"{target} misses the limit on {name} by {taken - limit:.0f} {unit}",
        where=f"--max-{name}",
        got=f"{taken:.0f}",
        expected=f"at most {limit:.0f}",
        hints=("search longer (--search-epochs)", f"raise --max-{name}", "allow fewer bits (--methods with mps)"),
    )


def flash_of_layers(image: Image, manifest: Manifest) -> list[tuple[int, dict[str, int]]]:
    """What each layer takes of a firmware, in execution order.

    Args:
        image: the firmware.
        manifest: of the network in it.

    Returns:
        Bytes of its own code and constants: all symbols that begin with the layer's, its micro-kernels among them. And
        bytes of each part that it may share with other layers.
    """
    shared = {part for entry in manifest.steps for part in entry.parts}
    sizes: dict[str, int] = {}
    for symbol in image.symbols:
        if symbol.kind in ("code", "constant", "data"):
            sizes[symbol.stem] = sizes.get(symbol.stem, 0) + symbol.size
    found = []
    for entry in manifest.steps:
        own = (name for name in sizes if name == entry.symbol or name.startswith(f"{entry.symbol}_"))
        alone = sum(sizes[name] for name in own if name not in shared)
        found.append((alone, {part: sizes.get(part, 0) for part in entry.parts}))
    return found
