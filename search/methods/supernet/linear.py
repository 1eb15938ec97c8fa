# SPDX-License-Identifier: Apache-2.0
"""Which branches are linear maps that one convolution computes exactly, and where that convolution looks.

A branch is linear if it is a chain of convolutions, identities and frozen batch norms that composes into one
convolution, borders included: at most one link looks at neighbours, the others are pointwise. A layer of a type that is
not known here, or one with hooks, makes its branch not linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import fx, nn

from plinio_deploy.search.methods.pit.layers import PITLayer

CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
"""Layers that are linear maps -> number of spatial axes."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Geometry:
    """Where a linear branch looks: all that decides with which others it can be merged.

    Attributes:
        axes: number of spatial axes, 0 for ``nn.Linear``.
        inputs: input channels; 0 if the branch takes any (identity).
        outputs: output channels; 0 likewise.
        groups: groups of the composed convolution; 0 means one per channel of an identity.
        extent: width of the window per axis, dilation included.
        stride: per axis.
        centre: twice the padding minus the extent, per axis: equal values are windows on one centre.
        macs: multiplications per output position when the branch runs by itself.
        links: number of layers that run.
    """

    axes: int
    inputs: int
    outputs: int
    groups: int
    extent: tuple[int, ...]
    stride: tuple[int, ...]
    centre: tuple[int, ...]
    macs: int
    links: int

    @property
    def pointwise(self) -> bool:
        """One tap, no stride, no padding."""
        return all(e == 1 and s == 1 and c == -1 for e, s, c in zip(self.extent, self.stride, self.centre, strict=True))


@dataclass(frozen=True)
class LinearBranch:
    """A branch that is one convolution: its geometry and the layers that compose it, in order."""

    geometry: Geometry
    layers: tuple[nn.Module, ...]


def chain(branch: nn.Module) -> list[nn.Module] | None:
    """The layers of a branch if it passes one tensor through them one after the other, else ``None``."""
    if _has_hooks(branch):
        return None
    if type(branch) is nn.Identity:
        return []
    if type(branch) is nn.Sequential:
        modules: list[nn.Module] = list(branch)
    elif isinstance(branch, fx.GraphModule):
        found = _graph_chain(branch)
        if found is None:
            return None
        modules = found
    else:
        return [branch]
    layers: list[nn.Module] = []
    for module in modules:
        inner = chain(module)
        if inner is None:
            return None
        layers += inner
    return layers


def _graph_chain(branch: fx.GraphModule) -> list[nn.Module] | None:
    modules: list[nn.Module] = []
    previous: fx.Node | None = None
    for node in branch.graph.nodes:
        if node.op == "placeholder" and previous is None:
            previous = node
        elif node.op == "output" and node.args == (previous,):
            return modules
        elif node.op == "call_module" and node.args == (previous,) and not node.kwargs:
            modules.append(branch.get_submodule(str(node.target)))
            previous = node
        else:
            return None
    return None


def _has_hooks(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name, None) for name in hooks)


def describe(branch: nn.Module) -> LinearBranch | None:
    """The branch as one convolution, or ``None`` if it is not exactly one."""
    layers = chain(branch)
    if layers is None:
        return None
    whole: Geometry | None = None
    shifted = False  # a constant was added: padding applied after it would not see it
    for layer in layers:
        if frozen_norm(layer):
            shifted = True
            continue
        link = _geometry(layer)
        if link is None:
            return None
        padded = any(c != -e for c, e in zip(link.centre, link.extent, strict=True))
        if whole is None:
            if shifted and padded:
                return None
            whole = link
        elif link.pointwise and link.axes == whole.axes and not padded:
            whole = _join(whole, link, taps=whole)
        elif whole.pointwise and link.axes == whole.axes and not (shifted and padded):
            whole = _join(whole, link, taps=link)
        else:
            return None
        shifted = shifted or getattr(layer, "bias", None) is not None
    if whole is None:
        whole = Geometry(-1, 0, 0, 0, (), (), (), 0, len(layers))
    elif whole.axes == 0 and any(type(layer) in NORMS for layer in layers):
        return None  # a batch norm takes axis 1, a Linear the last: which is which depends on the input
    return LinearBranch(whole, tuple(layers))


def frozen_norm(layer: nn.Module) -> bool:
    """Whether a layer is a batch norm that no longer learns from the batch: a fixed scale and shift per channel."""
    return type(layer) in NORMS and not layer.training and getattr(layer, "running_mean", None) is not None


def _geometry(layer: nn.Module) -> Geometry | None:
    axes = next((n for kind, n in CONVOLUTIONS.items() if type(layer) is kind or _is_masked(layer, kind)), None)
    if axes is None or _has_hooks(layer):
        return None
    if isinstance(layer, nn.Linear):
        macs = layer.in_features * layer.out_features
        return Geometry(0, layer.in_features, layer.out_features, 1, (), (), (), macs, 1)
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    extent = tuple(d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
    if layer.padding == "same":
        if any(e % 2 == 0 for e in extent):
            return None
        padding = tuple(e // 2 for e in extent)
    elif layer.padding == "valid":
        padding = (0,) * axes
    else:
        padding = tuple(int(p) for p in layer.padding)
    if layer.padding_mode != "zeros" and any(padding):
        return None
    centre = tuple(2 * p - e for p, e in zip(padding, extent, strict=True))
    macs = layer.out_channels * (layer.in_channels // layer.groups) * math.prod(layer.kernel_size)
    return Geometry(
        axes, layer.in_channels, layer.out_channels, layer.groups, extent, tuple(layer.stride), centre, macs, 1
    )


def _is_masked(layer: nn.Module, kind: type[nn.Module]) -> bool:
    return isinstance(layer, PITLayer) and isinstance(layer, kind)


def _join(first: Geometry, second: Geometry, taps: Geometry) -> Geometry:
    return Geometry(
        first.axes,
        first.inputs,
        second.outputs,
        math.gcd(first.groups, second.groups),
        taps.extent,
        taps.stride,
        taps.centre,
        first.macs + second.macs,
        first.links + second.links,
    )
