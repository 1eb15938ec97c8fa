# SPDX-License-Identifier: Apache-2.0
"""What PIT searches, layer by layer: padding, strides, kernels, granularity, dimensions, several inputs and outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from plinio_deploy.search.methods.pit import PIT
from plinio_deploy.search.methods.pit.masks import FeatureMask, TapMask, ring_mask
from tests.search.methods.pit.check import equivalent, randomize_masks, shaken

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")  # torch, once per process


@pytest.mark.parametrize("padding", ["same", "valid", 0, 1, 3, 5])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("dilation", [1, 2])
def test_1d_kernels_with_any_padding(padding: Any, kernel: int, dilation: int) -> None:
    conv = nn.Conv1d(3, 6, kernel, padding=padding, dilation=dilation)
    for seed in range(4):
        equivalent(nn.Sequential(conv, nn.ReLU(), nn.Conv1d(6, 2, 1)), (3, 24), seed=seed)


@pytest.mark.parametrize("stride", [2, 3])
def test_1d_kernels_with_strides(stride: int) -> None:
    conv = nn.Conv1d(3, 6, 5, padding=2, stride=stride)
    for seed in range(4):
        equivalent(nn.Sequential(conv, nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 2, 1)), (3, 24), seed=seed)


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_other_padding_modes_keep_their_taps(mode: Any) -> None:
    model = nn.Sequential(nn.Conv1d(3, 6, 5, padding=2, padding_mode=mode), nn.ReLU(), nn.Conv1d(6, 2, 1))
    searched = equivalent(model, (3, 24))
    assert "kernel_size" not in searched.summary()["0"]


@pytest.mark.parametrize("kernel", [3, 4, 5, (5, 3), (1, 7), (2, 6)])
@pytest.mark.parametrize("padding", [0, 1, 2, "same"])
def test_2d_kernels(kernel: Any, padding: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, kernel, padding=padding), nn.ReLU(), nn.Conv2d(6, 2, 1))
    kernels: set[Any] = set()
    for seed in range(4):
        searched = equivalent(model, (3, 12, 12), seed=seed, train_kernel=True)
        kernels.add(searched.summary()["0"]["kernel_size"])
    assert len(kernels) > 1


def test_2d_kernels_stay_unless_asked_for() -> None:
    searched = PIT(nn.Sequential(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 2, 1)), input_shape=(3, 8, 8))
    assert not any(isinstance(module, TapMask) for module in searched.modules())


def test_kernel_cost_and_gradient() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 5, bias=False), nn.Conv2d(6, 2, 1, bias=False))
    for discrete in (False, True):
        searched = PIT(model, input_shape=(3, 8, 8), train_kernel=True, discrete_cost=discrete)
        assert searched.cost.item() == 3 * 6 * 25 + 12
        beta = searched.get_parameter("seed.0.kernel_masker.0.beta")
        searched.cost.backward()  # type: ignore[no-untyped-call]
        assert beta.grad is not None
        assert (beta.grad[:-1] > 0).all()
        with torch.no_grad():
            beta.copy_(torch.tensor([0.2, 0.7, 1.0]))
        expected = 3 * 6 * 9 + 12 if discrete else 3 * 6 * (2 * 0.2 + 2 * 0.45 + 1.9 / 3) ** 2 + 12
        assert searched.cost.item() == pytest.approx(expected)


def test_rings() -> None:
    mask = ring_mask(5)
    with torch.no_grad():
        mask.parameter.copy_(torch.tensor([0.3, 0.4, 0.0]))
    assert mask.theta().tolist() == pytest.approx([0.3, 0.7, 1.7, 0.7, 0.3])
    assert mask.binary().tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Conv3d(2, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.Conv3d(6, 2, 1)], (2, 5, 5, 5)),
        ([nn.Conv3d(4, 4, 3, groups=2), nn.ReLU(), nn.Conv3d(4, 2, 1)], (4, 5, 5, 5)),
        ([nn.ConvTranspose1d(2, 6, 3, stride=2), nn.ReLU(), nn.Conv1d(6, 2, 1)], (2, 7)),
        ([nn.Conv1d(2, 6, 1), nn.ConvTranspose1d(6, 6, 3, stride=2, groups=6), nn.Conv1d(6, 2, 1)], (2, 7)),
        ([nn.ConvTranspose3d(2, 6, 3), nn.Conv3d(6, 6, 1), nn.ConvTranspose3d(6, 2, 2)], (2, 4, 4, 4)),
        ([nn.Linear(7, 20), nn.ReLU(), nn.Linear(20, 9), nn.BatchNorm1d(9), nn.Linear(9, 3)], (7,)),
        ([nn.Linear(7, 20), nn.LayerNorm(20), nn.GELU(), nn.Linear(20, 3)], (5, 7)),
        ([nn.Linear(7, 20), nn.PReLU(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3)], (4, 5, 7)),
        (
            [nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 12), nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 2, 1)],
            (3, 6, 6),
        ),
        (
            [nn.Conv2d(3, 8, 3), nn.Flatten(2), nn.Conv1d(8, 5, 1), nn.Unflatten(2, (4, 4)), nn.Conv2d(5, 2, 1)],
            (3, 6, 6),
        ),
    ],
)
def test_layers_of_all_dimensions(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    for seed in range(3):
        equivalent(nn.Sequential(*layers), shape, seed=seed)
        equivalent(nn.Sequential(*layers), shape, seed=seed, train_kernel=True)


def test_granularity() -> None:
    model = nn.Sequential(nn.Conv2d(3, 22, 3), nn.ReLU(), nn.Conv2d(22, 16, 3), nn.Flatten(), nn.Linear(16, 4))
    searched = PIT(model, input_shape=(3, 5, 5), granularity={"0": 4, "2": 8})
    for seed in range(6):
        searched = equivalent(model, (3, 5, 5), seed=seed, granularity={"0": 4, "2": 8})
        first, second = searched.summary()["0"]["out_features"], searched.summary()["2"]["out_features"]
        assert first % 4 in {0, 2}  # 22 channels: the odd block has two
        assert second in {8, 16}
    mask = searched.pit_layers()["0"].out_features_masker
    assert mask is not None
    assert mask.alpha.numel() == 6


def test_granularity_within_groups() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, groups=2), nn.Flatten(), nn.Linear(16 * 9, 4))
    for seed in range(6):
        searched = equivalent(model, (3, 5, 5), seed=seed, granularity=4)
        assert searched.summary()["1"]["out_features"] in {8, 16}
        assert searched.summary()["1"]["in_features"] in {8, 16}


class TwoIn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(2, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 3, 1)
        self.side = nn.Linear(8, 2)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        z = F.relu(self.a(x)) * torch.sigmoid(self.b(y))
        return {"map": self.head(z), "more": [self.side(z.mean((2, 3)))]}


def test_several_inputs_and_outputs() -> None:
    model = shaken(TwoIn()).eval()
    example = (torch.randn(1, 3, 6, 6), torch.randn(1, 2, 6, 6))
    searched = PIT(model, input_example=example)
    randomize_masks(searched)
    exported = searched.export().eval()
    inputs = (torch.randn(2, 3, 6, 6), torch.randn(2, 2, 6, 6))
    searched.eval()
    ours, theirs = searched(*inputs), exported(*inputs)
    assert torch.allclose(ours["map"], theirs["map"], rtol=1e-5, atol=1e-6)
    assert torch.allclose(ours["more"][0], theirs["more"][0], rtol=1e-5, atol=1e-6)
    assert len(exported.get_parameter("a.weight")) < 8


class Residual(nn.Module):
    """Attention over tokens with a residual: what cannot be searched keeps its channels, the rest is."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 2, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up = nn.Linear(8, 20)
        self.down = nn.Linear(20, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        t = self.embed(x).flatten(2).transpose(1, 2)
        t = t + self.attention(t, t, t, need_weights=False)[0]
        t = t + self.down(F.gelu(self.up(t)))
        result: Tensor = self.head(t.mean(1))
        return result


def test_a_transformer_block_with_its_attention_as_a_leaf() -> None:
    searched = equivalent(Residual(), (3, 8, 8), leaves=(nn.MultiheadAttention,))
    found = searched.summary()
    assert found["embed"]["out_features"] == 8
    assert found["up"]["out_features"] < 20
    assert any("leaf" in note for note in searched.notes)


def test_masks_learn() -> None:
    """A channel that the loss needs stays although the cost pulls at it; one that nothing needs goes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 1, bias=False))
    with torch.no_grad():
        model.get_parameter("1.weight").zero_()
        model.get_parameter("1.weight")[0, 2] = 1.0
    searched = PIT(model, input_shape=(4,))
    optimizer = torch.optim.SGD(searched.nas_parameters(), lr=0.01)
    x = torch.randn(256, 4)
    want = model(x).detach()
    for _ in range(100):
        optimizer.zero_grad()
        loss = 100 * (searched(x) - want).square().mean() + 0.2 * searched.cost
        loss.backward()
        optimizer.step()
    mask = searched.pit_layers()["0"].out_features_masker
    assert isinstance(mask, FeatureMask)
    assert mask.binary().tolist() == [0, 0, 1, 0, 0, 1]  # the last one stays whatever happens


@pytest.mark.parametrize("flags", [{"train_features": False}, {"train_rf": False}, {"train_dilation": False}])
def test_train_flags(flags: dict[str, bool]) -> None:
    searched = PIT(nn.Sequential(nn.Conv1d(3, 6, 5), nn.Conv1d(6, 2, 1)), input_shape=(3, 9), **flags)  # type: ignore[arg-type]
    name = next(iter(flags))
    assert getattr(searched, name) is False
    others = {"train_features", "train_rf", "train_dilation"} - {name}
    assert all(getattr(searched, other) for other in others)
    setattr(searched, name, True)
    assert getattr(searched, name) is True


def test_the_printed_form_names_module_paths() -> None:
    text = str(PIT(nn.Sequential(nn.Conv1d(3, 6, 5), nn.Conv1d(6, 2, 1)), input_shape=(3, 9)))
    assert "0: in_features=3, out_features=6, kernel_size=(5,), dilation=(1,)" in text


class Tokens(nn.Module):
    """Layers that nobody knows, on an input that keeps its features anyway."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.rnn = nn.GRU(6, 7, batch_first=True)
        self.up = nn.Linear(7, 20)
        self.down = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.rnn(self.embedding(x))
        result: Tensor = self.down(F.relu(self.up(hidden.data[:, -1])))
        return result


def test_unknown_layers_before_the_searched_part() -> None:
    model = shaken(Tokens()).eval()
    tokens = torch.tensor([[1, 4, 9], [0, 10, 2]])
    searched = PIT(model, input_example=tokens[:1])
    randomize_masks(searched)
    exported = searched.export()
    assert len(exported.get_parameter("up.weight")) < 20
    assert torch.allclose(searched(tokens), exported(tokens), rtol=1e-5, atol=1e-6)
