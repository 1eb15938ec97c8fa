# SPDX-License-Identifier: Apache-2.0
"""A schedule: which kernel executes which layer, and which layers run in bands of rows, as data.

Layers that it does not name take the cheapest kernel; without ``bands`` every layer runs as a whole::

    {"schema": 1, "layers": {"conv1": {"kernel": "conv_dsp"}}, "bands": {"first": "conv1", "last": "conv8", "rows": 3}}

A kernel that has parameters gets them beside its name::

    {"kernel": "conv_winograd_scratch", "parameters": {"patches": 8}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plinio_deploy.codegen import registry
from plinio_deploy.codegen.kernel import Kernel, Site, named
from plinio_deploy.errors import UsageError
from plinio_deploy.network import Network

FILE = "schedule.json"


class LayerSchedule(BaseModel):
    """How one layer is executed.

    Attributes:
        kernel: name of the kernel, without parameters.
        parameters: numbers that tell it from others of that name; ``None`` where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kernel: str
    parameters: dict[str, int] | None = None

    @staticmethod
    def of(name: str) -> LayerSchedule:
        """The schedule that gives a layer the kernel of a full name."""
        family, _, rest = name.partition("(")
        given = (part.split("=") for part in rest.rstrip(")").split(", ") if part)
        return LayerSchedule(kernel=family, parameters={key: int(value) for key, value in given} or None)

    @property
    def name(self) -> str:
        """The full name of the kernel."""
        return named(self.kernel, self.parameters or {})


class Bands(BaseModel):
    """Layers that run in turns, band of rows after band of rows; see `plinio_deploy.codegen.bands`.

    Attributes:
        first, last: names of the ops; all between them in execution order run in turns too.
        rows: rows of the last one's output that each turn brings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    first: str
    last: str
    rows: int = Field(ge=1)


class Schedule(BaseModel):
    """The whole document.

    Attributes:
        schema_version: ``schema`` in JSON; 1.
        layers: by the name of the op.
        bands: layers that run in bands of rows; ``None`` for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    layers: dict[str, LayerSchedule] = Field(default_factory=dict)
    bands: Bands | None = None

    @staticmethod
    def of(kernels: Mapping[str, str], bands: Bands | None = None) -> Schedule:
        """The schedule that gives each layer the kernel of a full name."""
        layers = {layer: LayerSchedule.of(name) for layer, name in sorted(kernels.items())}
        return Schedule(layers=layers, bands=bands)

    def dump(self) -> bytes:
        """JSON text, sorted; equal schedules make equal bytes."""
        ordered = self.model_copy(update={"layers": dict(sorted(self.layers.items()))})
        return (ordered.model_dump_json(indent=2, by_alias=True, exclude_none=True) + "\n").encode()

    @staticmethod
    def load(path: Path) -> Schedule:
        """The schedule in a file.

        Raises:
            UsageError: it cannot be read, or is no schedule.
        """
        try:
            return Schedule.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UsageError("the schedule cannot be read", where=str(path), got=error.strerror) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                "the schedule cannot be read",
                where=f"{path}: {place}" if place else str(path),
                got=first["msg"],
                hints=("plinio-deploy tune writes one",),
            ) from error

    def check(self, network: Network) -> None:
        """Raises `UsageError` if it names a layer that the network lacks."""
        known = [op.name for op in network.ops]
        unknown = sorted(set(self.layers) - set(known))
        if unknown:
            raise UsageError(
                "the schedule names a layer that the network does not have",
                where=f"schedule of {network.name}",
                got=", ".join(unknown),
                expected="some of " + ", ".join(known),
                hints=("plinio-deploy tune writes one for a network",),
            )

    def kernel(self, site: Site, pieces: Sequence[Site] = ()) -> Kernel:
        """The kernel of a site: the scheduled one, or else the cheapest.

        Args:
            site: of the whole layer.
            pieces: of the bands it runs in, if it does; the kernel has to execute each of them.

        Raises:
            UsageError: the scheduled kernel does not execute it.
            UnsupportedModel: no kernel does.
        """
        wanted = self.layers.get(site.op.name)
        if wanted is None:
            return registry.choose(site, pieces)
        able = {kernel.name: kernel for kernel in registry.candidates(site, pieces)}
        if wanted.name not in able:
            raise UsageError(
                f"the scheduled kernel does not execute this {site.op.kind}",
                where=f"layer {site.op.name}, features {sorted(site.isa) or 'none'}",
                got=wanted.name,
                expected="one of " + ", ".join(able),
                hints=("codegen/README.md tells what kernels need of a layer",),
            )
        return able[wanted.name]
