# SPDX-License-Identifier: Apache-2.0
"""The toy networks behind the yardstick numbers, rebuilt so that the numbers come out.

Sizes follow from the counts of parameters and operations where those determine them; where they do not, it says so.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class ToyAdd(nn.Module):
    """Two convolutions of the input added, pooled, a third one, a linear layer: 1502 parameters in 1-D, 7542 in 2-D."""

    def __init__(self, dims: int = 1) -> None:
        super().__init__()
        conv = nn.Conv1d if dims == 1 else nn.Conv2d
        self.conv0 = conv(3, 10, 3, padding="same")
        self.conv1 = conv(3, 10, 3, padding="same")
        self.conv2 = conv(10, 20, 5, padding="same")
        self.pool = nn.AvgPool1d(2) if dims == 1 else nn.AvgPool2d(2)
        self.fc = nn.Linear(20 * 7**dims, 2)
        self.input_shape = (3, *(15,) * dims)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv0(x) + self.conv1(x))
        x = F.relu(self.conv2(self.pool(x)))
        result: Tensor = self.fc(torch.flatten(x, 1))
        return result


class SimpleNN(nn.Module):
    """Two convolutions in time, of 3 and 5 taps; widths (32, 57) are ours, the numbers need 24 and 56 of them."""

    input_shape = (3, 40)

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(3, 32, 3, padding="same")
        self.bn0 = nn.BatchNorm1d(32)
        self.pool = nn.AvgPool1d(2)
        self.conv1 = nn.Conv1d(32, 57, 5, padding="same")
        self.bn1 = nn.BatchNorm1d(57)
        self.fc = nn.Linear(57 * 10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn0(self.conv0(x))))
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        result: Tensor = self.fc(x.flatten(1))
        return result


class TemporalBlock(nn.Module):
    """Residual block of a TC-ResNet: two causal convolutions of nine taps, and one of one tap around them."""

    def __init__(self, before: int, after: int, dilation: int = 1) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((8 * dilation, 0), 0.0)
        self.tcn1 = nn.Conv1d(before, after, 9, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm1d(after)
        self.tcn2 = nn.Conv1d(after, after, 9, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm1d(after)
        self.around = nn.Conv1d(before, after, 1, bias=False)
        self.bn3 = nn.BatchNorm1d(after)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.tcn1(self.pad(x))))
        y = self.bn2(self.tcn2(self.pad(y)))
        return F.relu(y + self.bn3(self.around(x)))


class TCResNet(nn.Module):
    """First blocks of a TC-ResNet14. The original dilation of block1 is ours (2): the numbers do not say."""

    input_shape = (6, 50)

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(6, 24, 3, padding=1)
        self.block0 = TemporalBlock(24, 36)
        self.block1 = TemporalBlock(36, 36, dilation=2)
        self.fc = nn.Linear(36, 12)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc(self.block1(self.block0(self.conv0(x))).mean(2))
        return result


class DSCNN(nn.Module):
    """Depthwise separable blocks of 64 channels; six of them give the fourteen targets (no number is given)."""

    input_shape = (1, 49, 10)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, (10, 4), 2, padding=(5, 1), bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        for index in range(2, 8):
            self.add_module(f"depthwise{index}", nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False))
            self.add_module(f"bn{index}d", nn.BatchNorm2d(64))
            self.add_module(f"conv{index}", nn.Conv2d(64, 64, 1, bias=False))
            self.add_module(f"bn{index}", nn.BatchNorm2d(64))
        self.fc = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for index in range(2, 8):
            x = F.relu(self.get_submodule(f"bn{index}d")(self.get_submodule(f"depthwise{index}")(x)))
            x = F.relu(self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(x)))
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


class ToyConcat(nn.Module):
    """10 and 15 channels side by side into one convolution."""

    input_shape = (3, 24)

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(3, 10, 3, padding="same")
        self.conv1 = nn.Conv1d(3, 15, 3, padding="same")
        self.conv2 = nn.Conv1d(25, 20, 5, padding="same")
        self.fc = nn.Linear(20 * 24, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.conv0(x), self.conv1(x)], dim=1)
        result: Tensor = self.fc(F.relu(self.conv2(x)).flatten(1))
        return result


class ToyMultiPath(nn.Module):
    """Concat, then three convolutions whose outputs are added; inputs of 3, 50, 64 and 640 features.

    The inventory gives these numbers and which layers share; the wiring is ours.
    """

    input_shape = (3, 40)

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(3, 10, 3, padding=1)
        self.conv1 = nn.Conv1d(3, 40, 3, padding=1)
        self.conv2 = nn.Conv1d(50, 64, 3, padding=1)
        self.conv3 = nn.Conv1d(50, 64, 3, padding=1)
        self.conv4 = nn.Conv1d(64, 64, 3, padding=1)
        self.conv5 = nn.Conv1d(64, 64, 3, padding=1)
        self.fc = nn.Linear(640, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((self.conv0(x), self.conv1(x)), 1)
        y = F.relu(self.conv2(x) + self.conv4(F.relu(self.conv3(x))))
        y = torch.sub(y, self.conv5(y))
        result: Tensor = self.fc(F.avg_pool1d(y, 4).flatten(1))
        return result


class ToySlices(nn.Module):
    """A group convolution written as slices of 105 channels, indexed in one of the ways that Python has."""

    input_shape = (3, 8)

    def __init__(self, groups: int, index: str) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(3, 105, 3, padding=1)
        size = 105 // groups
        self.parts = nn.ModuleList(nn.Conv1d(size, 4, 3, padding=1) for _ in range(groups))
        self.fc = nn.Linear(4 * groups, 2)
        self.groups, self.size, self.index = groups, size, index
        self.register_buffer("order", torch.arange(105).view(groups, size))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv0(x))
        result: Tensor = self.fc(torch.cat([part(self.slice(x, g)) for g, part in enumerate(self.parts)], 1).mean(2))
        return result

    def slice(self, x: Tensor, group: int) -> Tensor:
        positions = list(range(group * self.size, (group + 1) * self.size))
        if self.index == "slice":
            return x[:, positions[0] : positions[-1] + 1, :]
        if self.index == "list":
            return x[:, positions]
        if self.index == "tensor":
            return x[:, self.get_buffer("order")[group]]
        if self.index == "bool":
            return x[:, [position in positions for position in range(105)]]
        return torch.stack([x[:, position] for position in positions], 1)


class Repeated(nn.Module):
    """Four modules, each called twice: eight calls."""

    input_shape = (8, 12)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(8, 8, 3, padding=1)
        self.one = nn.Conv1d(8, 8, 3, padding=1)
        self.two = nn.Conv1d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = F.relu(self.two(F.relu(self.one(F.relu(self.stem(x))))))
            x = self.head(x.transpose(1, 2)).transpose(1, 2)
        return x
