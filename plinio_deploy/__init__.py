# SPDX-License-Identifier: Apache-2.0
"""A PyTorch model in, measured firmware out, in one command.

The search side is here under the names its users know: ``from plinio_deploy import SuperNet, SuperNetModule, PIT, MPS,
cost, regularizers``. They are looked up at first use, so that ``import plinio_deploy`` alone does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plinio_deploy.search import cost as cost
    from plinio_deploy.search import regularizers as regularizers
    from plinio_deploy.search import training as training
    from plinio_deploy.search.distillation import Distillation as Distillation
    from plinio_deploy.search.methods.mps import MPS as MPS
    from plinio_deploy.search.methods.mps import MPSType as MPSType
    from plinio_deploy.search.methods.mps import get_default_qinfo as get_default_qinfo
    from plinio_deploy.search.methods.odimo import ODiMO_MPS as ODiMO_MPS
    from plinio_deploy.search.methods.pit import PIT as PIT
    from plinio_deploy.search.methods.supernet import SuperNet as SuperNet
    from plinio_deploy.search.methods.supernet import SuperNetModule as SuperNetModule

__version__ = "0.1.0"

_LAZY = {
    "Distillation": ("plinio_deploy.search.distillation", "Distillation"),
    "MPS": ("plinio_deploy.search.methods.mps", "MPS"),
    "MPSType": ("plinio_deploy.search.methods.mps", "MPSType"),
    "ODiMO_MPS": ("plinio_deploy.search.methods.odimo", "ODiMO_MPS"),
    "PIT": ("plinio_deploy.search.methods.pit", "PIT"),
    "SuperNet": ("plinio_deploy.search.methods.supernet", "SuperNet"),
    "SuperNetModule": ("plinio_deploy.search.methods.supernet", "SuperNetModule"),
    "get_default_qinfo": ("plinio_deploy.search.methods.mps", "get_default_qinfo"),
    "cost": ("plinio_deploy.search.cost", None),
    "regularizers": ("plinio_deploy.search.regularizers", None),
    "training": ("plinio_deploy.search.training", None),
}
"""Public name -> module it is in, and its name there (``None``: it is that module)."""

__all__ = [
    "MPS",
    "PIT",
    "Distillation",
    "MPSType",
    "ODiMO_MPS",
    "SuperNet",
    "SuperNetModule",
    "__version__",
    "cost",
    "get_default_qinfo",
    "regularizers",
    "training",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, member = _LAZY[name]
    found = import_module(module)
    value = found if member is None else getattr(found, member)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
