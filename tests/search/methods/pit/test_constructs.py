# SPDX-License-Identifier: Apache-2.0
"""Every construct that PLiNIO was tried on (reference inventory, section 4): it is exact here, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.errors import UnsupportedModel
from plinio_deploy.search.methods.pit import PIT
from plinio_deploy.search.methods.pit.layers import PITLayer
from tests.search.methods.pit.check import equivalent

Body = Callable[["Cnn", Tensor], Tensor]


class Cnn(nn.Module):
    """conv-BN-ReLU, two parallel convs on the result, the construct under test, conv, pooling, linear."""

    shift: Tensor
    table: Tensor
    order: Tensor
    extra: Any

    def __init__(self, body: Body, width: int = 12, **extra: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.conv0 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn0 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(8, 12, 1)
        self.extra = nn.ModuleDict(extra)
        self.register_parameter("shift", nn.Parameter(torch.randn(12, 1, 1)))
        self.register_parameter("table", nn.Parameter(torch.randn(12, 4, 4)))
        self.register_buffer("order", torch.tensor([3, 1, 7, 0, 11, 5]))
        self.tail = nn.Conv2d(width, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn0(self.conv0(x)))
        x = self.body(self, x)
        result: Tensor = self.fc(self.tail(x).mean((2, 3)))
        return result

    def a(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)))

    def b(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv2(x)
        return result


def se(m: Cnn, x: Tensor) -> Tensor:
    y = m.a(x)
    s = F.adaptive_avg_pool2d(y, 1)
    s = m.extra["up"](F.relu(m.extra["down"](s))).sigmoid()
    scaled: Tensor = y * s
    return scaled


def shuffle(m: Cnn, x: Tensor) -> Tensor:
    n, c, h, w = m.a(x).size()
    y = m.a(x).view(n, 3, c // 3, h, w)
    return torch.transpose(y, 1, 2).contiguous().view(n, -1, h, w)


def iadd(m: Cnn, x: Tensor) -> Tensor:
    y = m.a(x)
    y += m.b(x)
    return y


def looped(m: Cnn, x: Tensor) -> Tensor:
    parts = [part * (index + 1) for index, part in enumerate(m.a(x).chunk(3, dim=1))]
    return parts[0] + parts[1] - parts[2]


def twice(m: Cnn, x: Tensor) -> Tensor:
    y = m.a(x)
    return torch.cat([y, y], 1)


def swapped(m: Cnn, x: Tensor) -> Tensor:
    first, second = m.a(x).chunk(2, 1)
    return torch.cat([second, first], 1)


def split(m: Cnn, x: Tensor) -> Tensor:
    parts = torch.split(m.a(x), [5, 7], 1)
    return torch.cat([parts[0], parts[1]], 1)


def viewed(m: Cnn, x: Tensor) -> Tensor:
    y = m.a(x)
    return y.view(y.size(0), 12, -1).view(y.size(0), 12, 4, 4)


def two_users(m: Cnn, x: Tensor) -> Tensor:
    y = m.b(x)
    result: Tensor = m.extra["bn"](y) + y
    return result


def decided(m: Cnn, x: Tensor) -> Tensor:
    y = m.a(x)
    if y.shape[1] == 12 and len(y.shape) == 4:
        y = y + m.b(x)
    return y


WORKS: dict[str, Callable[[], nn.Module]] = {
    "functional relu": lambda: Cnn(lambda m, x: F.relu(m.b(x))),
    "method relu": lambda: Cnn(lambda m, x: m.b(x).relu()),
    "method relu_": lambda: Cnn(lambda m, x: m.b(x).relu_()),
    "relu6": lambda: Cnn(lambda m, x: F.relu6(m.b(x))),
    "add": lambda: Cnn(lambda m, x: m.a(x) + m.b(x)),
    "torch.add": lambda: Cnn(lambda m, x: torch.add(m.a(x), m.b(x))),
    "method add": lambda: Cnn(lambda m, x: m.a(x).add(m.b(x))),
    "iadd": lambda: Cnn(iadd),
    "add with alpha": lambda: Cnn(lambda m, x: torch.add(m.a(x), m.b(x), alpha=2)),
    "sub": lambda: Cnn(lambda m, x: m.a(x) - m.b(x)),
    "mul": lambda: Cnn(lambda m, x: m.a(x) * m.b(x)),
    "torch.mul": lambda: Cnn(lambda m, x: torch.mul(m.a(x), m.b(x))),
    "torch.multiply": lambda: Cnn(lambda m, x: torch.multiply(m.a(x), m.b(x))),
    "maximum": lambda: Cnn(lambda m, x: torch.maximum(m.a(x), m.b(x))),
    "squeeze and excite": lambda: Cnn(se, down=nn.Conv2d(12, 5, 1), up=nn.Conv2d(5, 12, 1)),
    "spatial attention": lambda: Cnn(lambda m, x: m.a(x) * m.extra["g"](m.b(x)).sigmoid(), g=nn.Conv2d(12, 1, 1)),
    "add a constant": lambda: Cnn(lambda m, x: m.a(x) + 1.5),
    "add a parameter": lambda: Cnn(lambda m, x: m.a(x) + m.shift),
    "add a parameter of several axes": lambda: Cnn(lambda m, x: m.a(x) + m.table),
    "a parameter moved, then added": lambda: Cnn(lambda m, x: m.a(x) + m.shift.view(1, -1, 1, 1).exp()),
    "sigmoid": lambda: Cnn(lambda m, x: torch.sigmoid(m.b(x))),
    "standalone bn": lambda: Cnn(lambda m, x: m.extra["bn"](F.relu(m.b(x))), bn=nn.BatchNorm2d(12)),
    "bn after two users": lambda: Cnn(two_users, bn=nn.BatchNorm2d(12)),
    "bn without affine": lambda: Cnn(lambda m, x: m.extra["bn"](m.b(x)), bn=nn.BatchNorm2d(12, affine=False)),
    "constant pad": lambda: Cnn(lambda m, x: m.extra["pad"](m.a(x)), pad=nn.ConstantPad2d(1, 0.7)),
    "zero pad": lambda: Cnn(lambda m, x: m.extra["pad"](m.a(x)), pad=nn.ZeroPad2d(1)),
    "reflection pad": lambda: Cnn(lambda m, x: m.extra["pad"](m.a(x)), pad=nn.ReflectionPad2d(1)),
    "F.pad": lambda: Cnn(lambda m, x: F.pad(m.a(x), (1, 1, 0, 1), value=0.3)),
    "F.pad of channels": lambda: Cnn(lambda m, x: F.pad(m.b(x), (0, 0, 0, 0, 2, 1)), width=15),
    "shared module": lambda: Cnn(
        lambda m, x: m.extra["s"](F.relu(m.extra["s"](m.a(x)))), s=nn.Conv2d(12, 12, 3, padding=1)
    ),
    "conv without bias": lambda: Cnn(lambda m, x: F.relu(m.conv1(x))),
    "cat": lambda: Cnn(lambda m, x: torch.cat([m.a(x), m.b(x)], 1), width=24),
    "cat dim -3": lambda: Cnn(lambda m, x: torch.cat([m.a(x), m.b(x)], dim=-3), width=24),
    "cat of one tensor twice": lambda: Cnn(twice, width=24),
    "cat of cat": lambda: Cnn(lambda m, x: torch.cat([torch.cat([m.a(x), x], 1), m.b(x)], 1), width=32),
    "cat along height": lambda: Cnn(lambda m, x: torch.cat([m.a(x), m.b(x)], 2)),
    "cat and depthwise": lambda: Cnn(
        lambda m, x: m.extra["dw"](torch.cat([m.a(x), m.b(x)], 1)),
        width=24,
        dw=nn.Conv2d(24, 24, 3, padding=1, groups=24),
    ),
    "cat and add": lambda: Cnn(
        lambda m, x: torch.cat([m.a(x), x], 1) + m.extra["c"](x), width=20, c=nn.Conv2d(8, 20, 1)
    ),
    "channel slice": lambda: Cnn(lambda m, x: m.a(x)[:, 2:9], width=7),
    "channel slice with steps": lambda: Cnn(lambda m, x: m.a(x)[:, ::2], width=6),
    "channel slice with ellipsis": lambda: Cnn(lambda m, x: m.a(x)[..., 2:9, :, :], width=7),
    "channel list": lambda: Cnn(lambda m, x: m.a(x)[:, [5, 0, 3, 9]], width=4),
    "one channel": lambda: Cnn(lambda m, x: m.a(x)[:, 4:5], width=1),
    "one channel by number": lambda: Cnn(lambda m, x: m.a(x)[:, 4].unsqueeze(1), width=1),
    "index_select": lambda: Cnn(lambda m, x: m.a(x).index_select(1, m.order), width=6),
    "index by a buffer": lambda: Cnn(lambda m, x: m.a(x)[:, m.order], width=6),
    "narrow": lambda: Cnn(lambda m, x: m.a(x).narrow(1, 3, 6), width=6),
    "chunk": lambda: Cnn(swapped),
    "chunk in a loop": lambda: Cnn(looped, width=4),
    "split": lambda: Cnn(split),
    "tensor_split": lambda: Cnn(lambda m, x: torch.tensor_split(m.a(x), 3, dim=1)[1], width=4),
    "stack and sum": lambda: Cnn(lambda m, x: torch.stack([m.a(x), m.b(x)], 0).sum(0)),
    "stack and view": lambda: Cnn(lambda m, x: torch.stack([m.a(x), m.b(x)], 2).flatten(1, 2), width=24),
    "view": lambda: Cnn(viewed),
    "reshape with numbers": lambda: Cnn(lambda m, x: m.a(x).reshape(-1, 12, 16).reshape(-1, 12, 4, 4)),
    "permute": lambda: Cnn(lambda m, x: m.a(x).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)),
    "transpose": lambda: Cnn(lambda m, x: m.a(x).transpose(1, 3).transpose(1, 3)),
    "channel shuffle by views": lambda: Cnn(shuffle),
    "nn.ChannelShuffle": lambda: Cnn(lambda m, x: m.extra["s"](m.a(x)), s=nn.ChannelShuffle(3)),
    "nn.PixelShuffle": lambda: Cnn(lambda m, x: m.extra["s"](m.a(x)), width=3, s=nn.PixelShuffle(2)),
    "F.max_pool2d": lambda: Cnn(lambda m, x: F.max_pool2d(m.a(x), 2)),
    "F.avg_pool2d": lambda: Cnn(lambda m, x: F.avg_pool2d(m.a(x), 2)),
    "F.adaptive_avg_pool2d": lambda: Cnn(lambda m, x: F.adaptive_avg_pool2d(m.a(x), 2)),
    "nn.AdaptiveMaxPool2d": lambda: Cnn(lambda m, x: m.extra["p"](m.a(x)), p=nn.AdaptiveMaxPool2d(2)),
    "F.interpolate": lambda: Cnn(lambda m, x: F.interpolate(m.a(x), scale_factor=2.0)),
    "nn.Upsample": lambda: Cnn(lambda m, x: m.extra["u"](m.a(x)), u=nn.Upsample(scale_factor=2)),
    "F.dropout": lambda: Cnn(lambda m, x: F.dropout(m.a(x), 0.5, m.training)),
    "nn.Dropout2d": lambda: Cnn(lambda m, x: m.extra["d"](m.a(x)), d=nn.Dropout2d()),
    "x.mean([2,3])": lambda: Cnn(lambda m, x: m.a(x).mean([2, 3], keepdim=True)),
    "torch.mean": lambda: Cnn(lambda m, x: torch.mean(m.a(x), dim=(2, 3), keepdim=True)),
    "amax": lambda: Cnn(lambda m, x: m.a(x).amax((-1, -2), keepdim=True)),
    "nn.ConvTranspose2d": lambda: Cnn(lambda m, x: m.extra["t"](m.a(x)), width=5, t=nn.ConvTranspose2d(12, 5, 2, 2)),
    "grouped ConvTranspose2d": lambda: Cnn(
        lambda m, x: m.extra["t"](m.a(x)), width=6, t=nn.ConvTranspose2d(12, 6, 2, 2, groups=3)
    ),
    "depthwise ConvTranspose2d": lambda: Cnn(
        lambda m, x: m.extra["t"](m.a(x)), width=24, t=nn.ConvTranspose2d(12, 24, 2, 2, groups=12)
    ),
    "group conv": lambda: Cnn(lambda m, x: m.extra["g"](m.a(x)), width=8, g=nn.Conv2d(12, 8, 3, padding=1, groups=2)),
    "depthwise x2": lambda: Cnn(
        lambda m, x: m.extra["g"](m.a(x)), width=24, g=nn.Conv2d(12, 24, 3, padding=1, groups=12)
    ),
    "decision by shapes": lambda: Cnn(decided),
    "LayerNorm over channels": lambda: Cnn(
        lambda m, x: m.extra["n"](m.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), n=nn.LayerNorm(12)
    ),
    "LayerNorm over all": lambda: Cnn(lambda m, x: m.extra["n"](m.a(x)), n=nn.LayerNorm([12, 4, 4])),
    "F.softmax of space": lambda: Cnn(lambda m, x: m.a(x).flatten(2).softmax(-1).reshape(-1, 12, 4, 4)),
    "softmax of channels": lambda: Cnn(lambda m, x: m.a(x).softmax(1)),
    "InstanceNorm": lambda: Cnn(lambda m, x: m.extra["n"](m.a(x)), n=nn.InstanceNorm2d(12)),
    "InstanceNorm affine": lambda: Cnn(
        lambda m, x: m.extra["n"](m.a(x)), n=nn.InstanceNorm2d(12, affine=True, track_running_stats=True)
    ),
    "PReLU of one": lambda: Cnn(lambda m, x: m.extra["n"](m.b(x)), n=nn.PReLU()),
    "PReLU of many": lambda: Cnn(lambda m, x: m.extra["n"](m.b(x)), n=nn.PReLU(12)),
    "where": lambda: Cnn(lambda m, x: torch.where(m.a(x) > 0.1, m.a(x), m.b(x))),
}
for groups in (1, 3, 12):
    WORKS[f"GroupNorm {groups}"] = lambda groups=groups: Cnn(  # type: ignore[misc]
        lambda m, x: m.extra["n"](m.a(x)), n=nn.GroupNorm(groups, 12)
    )
for kind in (nn.LeakyReLU, nn.GELU, nn.Hardswish, nn.Hardtanh, nn.ELU, nn.Tanh, nn.Hardsigmoid, nn.SiLU, nn.ReLU6):
    WORKS[kind.__name__] = lambda kind=kind: Cnn(lambda m, x: m.extra["act"](m.b(x)), act=kind())  # type: ignore[misc]


@pytest.mark.parametrize("name", WORKS)
def test_construct_is_exact(name: str) -> None:
    for seed in range(2):
        equivalent(WORKS[name](), (3, 4, 4), seed=seed)


@pytest.mark.parametrize(
    "name", ["add", "cat", "mul", "sigmoid", "nn.ChannelShuffle", "channel slice with steps", "split"]
)
def test_channels_really_go(name: str) -> None:
    searched = equivalent(WORKS[name](), (3, 4, 4))
    conv1 = dict(searched.export().named_modules())["conv1" if name != "sigmoid" else "conv2"]
    assert isinstance(conv1, nn.Conv2d)
    assert conv1.out_channels < 12


def branching(m: Cnn, x: Tensor) -> Tensor:
    y = m.a(x)
    return y if y.sum() > 0 else m.b(x)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "data-dependent if": (lambda: Cnn(branching), "depends on the data"),
    "mean of channels": (lambda: Cnn(lambda m, x: m.a(x).mean(1, keepdim=True), width=1), "along the channel axis"),
    "functional conv": (
        lambda: Cnn(lambda m, x: F.conv2d(m.a(x), m.extra["c"].weight, padding=1), c=nn.Conv2d(12, 12, 3)),
        "conv2d as a function",
    ),
    "cropped channels": (lambda: Cnn(lambda m, x: F.pad(m.a(x), (0, 0, 0, 0, -2, 0)), width=10), "cut off"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    build, words = REFUSED[name]
    with pytest.raises(UnsupportedModel, match=words) as caught:
        PIT(build(), input_shape=(3, 4, 4))
    text = str(caught.value)
    assert "test_constructs.py:" in text
    assert "Things to try" in text


@pytest.mark.parametrize("name", ["functional conv", "mean of channels", "cropped channels"])
def test_refused_ones_work_with_frozen_channels(name: str) -> None:
    searched = equivalent(REFUSED[name][0](), (3, 4, 4), on_unsupported="freeze")
    assert searched.notes


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,ndhw->ncd", x, x).sum(2)[:, :, None, None]


def test_marked_leaves_keep_what_flows_in() -> None:
    model = Cnn(lambda m, x: m.extra["odd"](m.a(x)), odd=Odd())
    with pytest.raises(UnsupportedModel):
        PIT(model, input_shape=(3, 4, 4))
    for leaves in [(Odd,), ("extra.odd",)]:
        searched = equivalent(model, (3, 4, 4), leaves=leaves)
        assert searched.summary()["conv1"]["out_features"] == 12
        assert searched.summary()["conv0"]["out_features"] < 8


@pytest.mark.parametrize(
    "options", [{"exclude_names": ("tail",)}, {"exclude_types": (nn.Conv2d,)}, {"exclude_names": ("conv0", "fc")}]
)
def test_excluded_layers(options: dict[str, Any]) -> None:
    searched = equivalent(Cnn(lambda m, x: m.a(x) + m.b(x)), (3, 4, 4), **options)
    layers = searched.pit_layers()
    if "tail" in options.get("exclude_names", ()):
        assert layers["tail"].out_features_opt == 6
        assert layers["tail"].in_features_opt < 12
    if "exclude_types" in options:
        assert not any(isinstance(module, nn.Conv2d) for module in layers.values())


def test_no_layer_is_converted_without_autoconvert() -> None:
    searched = equivalent(Cnn(lambda m, x: m.a(x)), (3, 4, 4), autoconvert_layers=False)
    assert not any(isinstance(module, PITLayer) for module in searched.modules())
