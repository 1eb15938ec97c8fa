# SPDX-License-Identifier: Apache-2.0
"""What all search methods share: construction, cost, the two sets of parameters, copies."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plinio_deploy.errors import CheckFailed, UnsupportedModel, UsageError
from plinio_deploy.search.cost import Cost, ops, params, peak_ram
from plinio_deploy.search.methods.pit import PIT
from plinio_deploy.search.methods.supernet.module import SuperNetModule
from tests.search.methods.pit.check import call, difference, equivalent, randomize_masks, shaken
from tests.search.methods.pit.toys import SimpleNN, ToyAdd


class Joint(nn.Module):
    """Alternatives between convolutions, one of them nested."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        inner = SuperNetModule(
            [nn.Conv2d(8, 8, 1), nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 1))]
        )
        self.choice = SuperNetModule([nn.Conv2d(8, 8, 3, padding=1), inner, nn.Identity()])
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc(torch.relu(self.norm(self.choice(self.stem(x)))).mean((2, 3)))
        return result


def test_one_of_example_and_shape_is_needed() -> None:
    with pytest.raises(UsageError, match="needs to know"):
        PIT(ToyAdd())
    with pytest.raises(UsageError, match="input_shape"):
        PIT(ToyAdd(), input_shape=(3, "a"))  # type: ignore[arg-type]
    assert PIT(ToyAdd(), input_example=torch.rand(2, 3, 15)).cost.item() == 1502


def test_costs_by_name() -> None:
    searched = PIT(ToyAdd(), cost={"params": params, "ops": ops}, input_shape=(3, 15))
    assert searched.get_cost("ops").item() == 10422
    with pytest.raises(UsageError, match="several costs"):
        _ = searched.cost
    with pytest.raises(UsageError, match="no cost of that name"):
        searched.get_cost("cycles")
    searched.cost_specification = params
    assert searched.cost.item() == 1502
    with pytest.raises(UsageError, match="without a name"):
        searched.get_cost("params")


def test_cost_is_never_stale_and_can_be_differentiated_twice() -> None:
    searched = PIT(ToyAdd(), input_shape=(3, 15))
    first = searched.cost
    first.backward()  # type: ignore[no-untyped-call]
    searched.cost.backward()  # type: ignore[no-untyped-call]
    before = first.item()
    with torch.no_grad():
        for parameter in searched.nas_parameters():
            parameter.mul_(0.5)
    assert searched.cost.item() < before


def test_input_channels_have_a_gradient() -> None:
    searched = PIT(
        nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 100, 1, bias=False)), input_shape=(3, 4, 4)
    )
    searched.cost.backward()  # type: ignore[no-untyped-call]
    gradient = next(iter(searched.nas_parameters())).grad
    assert gradient is not None
    assert gradient[:-1].tolist() == [103.0] * 7  # 3 weights of its own and 100 of the next layer


def test_peak_memory_follows_the_masks() -> None:
    searched = PIT(ToyAdd(2), cost=peak_ram, input_shape=(3, 15, 15), discrete_cost=True)
    before = searched.cost
    before.backward()  # type: ignore[no-untyped-call]
    randomize_masks(searched, living=0.3)
    assert 0 < searched.cost.item() < before.item()


def test_parameter_sets_are_disjoint_and_complete() -> None:
    searched = PIT(SimpleNN(), input_shape=(3, 40))
    nas, net = set(searched.nas_parameters()), set(searched.net_parameters())
    assert not nas & net
    assert nas | net == set(searched.parameters())
    names = [name for name, _ in searched.named_nas_parameters()]
    assert "masks.conv0.alpha" in names
    assert "seed.conv0.timestep_masker.beta" in names


def test_training_flags_respect_what_the_user_froze() -> None:
    model = SimpleNN()
    model.conv0.weight.requires_grad_(False)
    searched = PIT(model, input_shape=(3, 40), train_rf=False)
    frozen = {name for name, parameter in searched.named_parameters() if not parameter.requires_grad}
    assert "seed.conv0.weight" in frozen
    assert "seed.conv1.timestep_masker.beta" in frozen
    searched.train_nas_only()
    assert not any(parameter.requires_grad for parameter in searched.net_parameters())
    searched.train_net_only()
    assert not any(parameter.requires_grad for parameter in searched.nas_parameters())
    assert not searched.get_parameter("seed.conv0.weight").requires_grad
    searched.train_net_and_nas()
    assert frozen == {name for name, parameter in searched.named_parameters() if not parameter.requires_grad}
    searched.train_rf = True
    assert searched.get_parameter("seed.conv1.timestep_masker.beta").requires_grad


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "state_dict"])
@pytest.mark.parametrize("build", [SimpleNN, Joint])
def test_copies_are_the_same_search(way: str, build: Any) -> None:
    model = shaken(build())
    shape = (3, 40) if build is SimpleNN else (3, 6, 6)
    searched = PIT(model, cost=ops, input_shape=shape)
    randomize_masks(searched, 3)
    _ = searched.cost
    if way == "deepcopy":
        other: Any = copy.deepcopy(searched)
    elif way == "pickle":
        buffer = io.BytesIO()
        torch.save(searched, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    else:
        other = PIT(build(), cost=ops, input_shape=shape)
        other.load_state_dict(searched.state_dict())
    searched.eval()
    other.eval()
    inputs = torch.randn(2, *shape)
    want = call(searched, (inputs,))
    assert torch.equal(want, call(other, (inputs,)))
    assert other.cost.item() == searched.cost.item()
    assert other.summary() == searched.summary()
    assert difference(want, call(other.export().eval(), (inputs,))) < 1e-5
    randomize_masks(other, 4)
    assert other.summary() != searched.summary()  # nothing is shared
    assert torch.equal(want, call(searched, (inputs,)))


def test_exported_network_shares_nothing_with_the_search() -> None:
    searched = PIT(SimpleNN(), input_shape=(3, 40))
    exported = searched.export()
    own = {parameter.data_ptr() for parameter in searched.parameters()}
    assert not own & {parameter.data_ptr() for parameter in exported.parameters()}
    assert copy.deepcopy(exported)(torch.rand(2, 3, 40)).shape == (2, 3)


def test_joint_search() -> None:
    searched = equivalent(Joint(), (3, 6, 6))
    for seed in range(3):
        searched = equivalent(Joint(), (3, 6, 6), seed=seed)
        with torch.no_grad():
            searched.get_parameter("seed.choice.alpha")[seed] += 1
        inputs = torch.randn(2, 3, 6, 6)
        searched.eval()
        assert difference(call(searched, (inputs,)), call(searched.export().eval(), (inputs,))) < 1e-5
    names = {name for name, _ in searched.named_nas_parameters()}
    assert "seed.choice.alpha" in names
    assert "seed.choice.branches.1.0.alpha" in names
    searched.train()
    searched.cost.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for name, parameter in searched.named_nas_parameters() if "choice" in name)
    assert "choice" in str(searched)


def test_a_wrong_export_is_noticed() -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 8, 1)
            self.head = nn.Conv1d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            result: Tensor = self.head(x / x.shape[1])
            return result

    searched = PIT(Sized(), input_shape=(3, 5))
    randomize_masks(searched)
    with pytest.raises(CheckFailed, match="does not compute"):
        searched.export()


def test_a_model_that_does_not_run_is_refused_with_its_place() -> None:
    model = nn.Sequential(nn.Conv1d(3, 8, 1), nn.Conv1d(9, 2, 1))
    with pytest.raises(UnsupportedModel, match="failed on the example input"):
        PIT(model, input_shape=(3, 5))


def test_saved_weights_fit_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    searched = PIT(Joint(), input_shape=(3, 6, 6))
    save_file(searched.state_dict(), tmp_path / "searched.safetensors")


def test_half_precision_training_step() -> None:
    searched = PIT(Joint(), input_shape=(3, 6, 6))
    with torch.autocast("cpu", torch.bfloat16):
        loss = searched(torch.randn(4, 3, 6, 6)).float().square().mean()
    (loss + 1e-6 * searched.cost).backward()
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in searched.parameters())


@pytest.mark.parametrize("seed", range(3))
def test_joint_cost_in_eval_mode_is_that_of_the_exported_network(seed: int) -> None:
    costs: dict[str, Cost] = {"params": params, "ops": ops, "ram": peak_ram}
    searched = PIT(Joint(), cost=costs, input_shape=(3, 6, 6), discrete_cost=True).eval()
    randomize_masks(searched, seed)
    with torch.no_grad():
        searched.get_parameter("seed.choice.alpha")[seed] += 1
    exported = PIT(searched.export(), cost=costs, input_shape=(3, 6, 6))
    for name in ("params", "ops", "ram"):
        assert searched.get_cost(name).item() == pytest.approx(exported.get_cost(name).item()), name


def test_double_precision() -> None:
    searched = PIT(SimpleNN(), input_shape=(3, 40)).to(torch.float64)
    assert searched(torch.rand(2, 3, 40, dtype=torch.float64)).dtype == torch.float64
    assert searched.export(check=False)(torch.rand(2, 3, 40, dtype=torch.float64)).dtype == torch.float64
