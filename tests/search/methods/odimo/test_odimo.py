# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import plinio_deploy
from plinio_deploy.codegen import Manifest, Options, generate
from plinio_deploy.errors import UsageError
from plinio_deploy.integerize import ExactNetwork, integerize, lower, split
from plinio_deploy.integerize.compare import input_codes, layer_differences
from plinio_deploy.network import Conv, Linear, Network, runs_of
from plinio_deploy.recipes.digits import DigitsNet, load_digits
from plinio_deploy.search import cost
from plinio_deploy.search.cost.diana import analog_cycles
from plinio_deploy.search.methods.odimo import DIANA, ODiMO_MPS, Platform
from plinio_deploy.search.methods.odimo.diana import ANALOG, DIGITAL
from tests.codegen.harness import check_networks
from tests.search.methods.mps.toys import Pair, Residual, layer, put
from tests.search.methods.odimo.two_cores import TWO_CORES


def toy(model: Any = None, seed: int | None = None, **options: Any) -> ODiMO_MPS:
    """A search on a toy model, calibrated, with random alphas if a seed is given."""
    torch.manual_seed(3)
    model = Residual() if model is None else model()
    search = ODiMO_MPS(model, input_shape=model.input_shape, **options).train()
    search.calibrate([torch.rand(8, *model.input_shape, generator=torch.Generator().manual_seed(0))])
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        for choice in search.network.choices():
            put(choice, torch.randn(choice.alpha.shape, generator=generator))
    return search


def weighted(network: Network) -> dict[str, Conv | Linear]:
    return {op.name: op for op in network.ops if isinstance(op, Conv | Linear)}


def test_the_default_works() -> None:
    assert plinio_deploy.ODiMO_MPS is ODiMO_MPS
    search = ODiMO_MPS(Pair(), input_shape=(4, 8, 8))
    (search(torch.rand(2, 4, 8, 8)).square().mean() + 1e-6 * search.cost).backward()
    for name, parameter in search.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    assert len(list(search.nas_parameters())) == 2


@pytest.mark.parametrize(("bits", "cycles"), [(8, 2688.0), (2, 1443.2)])
def test_the_published_figures_of_diana(bits: int, cycles: float) -> None:
    model = nn.Sequential(nn.Conv2d(16, 32, 3))
    search = ODiMO_MPS(model, input_shape=(16, 10, 10)).train()
    put(layer(search, "0").choice, [[99.0 if bits == 2 else -99.0] * 32, [0.0] * 32])
    assert float(search.cost.detach()) == pytest.approx(cycles)
    assert float(search.eval().cost.detach()) == pytest.approx(cycles)


@pytest.mark.parametrize("platform", [DIANA, TWO_CORES])
@pytest.mark.parametrize("seed", range(2))
def test_what_is_exported_carries_its_assignment(platform: Platform, seed: int) -> None:
    search = toy(seed=seed, platform=platform).eval()
    x = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    exported = search.export()
    with torch.no_grad():
        assert torch.equal(search(x), exported(x))
    assigned, ops = search.assignment(), weighted(integerize(exported))
    assert set(assigned) == {"first", "inner", "outer", "deep", "side", "fc"}
    width = {unit.name: unit.w_bits for unit in platform.accelerators}
    for path, op in ops.items():
        assert Counter(op.accelerators) == Counter(assigned[path])
        assert tuple(width[name] for name in op.accelerators) == op.weights.bits
        for channel, name in enumerate(op.accelerators):
            if name == "analog":
                assert set(np.unique(op.weights.codes[channel])) <= {-1, 0, 1}
    assert len(runs_of(ops["inner"].accelerators)) == len(set(assigned["inner"]))  # nothing holds its order fast
    assert ops["fc"].accelerators == assigned["fc"]  # outputs keep their order
    if platform is DIANA:
        assert set(ops["deep"].accelerators) == {"digital"}
    counts = search.summary()["inner"]["accelerators"]
    assert counts == dict(Counter(assigned["inner"]))


@pytest.mark.host
def test_integers_are_the_same_everywhere_whole_and_split(tmp_path: Path) -> None:
    networks = []
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for platform in (DIANA, TWO_CORES):
        exported = toy(seed=7, platform=platform).eval().export()
        made = lower(exported, "mapped")
        assert max(layer_differences(exported, made, x).values()) <= 1
        parts = split(made.network)
        codes = [torch.from_numpy(np.asarray(code)) for code in input_codes(made, x)]
        whole, cut = ExactNetwork(made.network).trace(*codes), ExactNetwork(parts).trace(*codes)
        assert all(torch.equal(whole[name], cut[name]) for name in whole)
        for name, op in weighted(parts).items():
            assert len(set(op.accelerators)) == 1 or (isinstance(op, Conv) and op.groups > 1), name
        assert len(parts.ops) > len(made.network.ops)
        networks += [made.network, parts]
    cases = check_networks(networks, tmp_path)
    steps = {step.layer: step for step in cases[0].manifest.steps}
    for name, op in weighted(networks[0]).items():
        assert steps[name].accelerators == dict(Counter(op.accelerators))
    assert steps["add"].accelerators == {}


def follow_the_cost(search: ODiMO_MPS) -> Counter[str]:
    """Channels by accelerator after minimising the cost alone, from where no channel is like another."""
    generator = torch.Generator().manual_seed(0)
    for choice in search.network.choices():
        put(choice, 0.3 * torch.randn(choice.alpha.shape, generator=generator))
    optimizer = torch.optim.Adam(search.train().nas_parameters(), lr=0.05)
    start = float(search.cost.detach())
    for step in range(60):
        search.update_softmax_options(temperature=0.02 ** (step / 60))
        optimizer.zero_grad()
        torch.autograd.backward(search.cost / start)
        optimizer.step()
    assert float(search.eval().cost.detach()) <= start * 1.0001
    return Counter(name for names in search.assignment().values() for name in names)


def mapped(price: float) -> Counter[str]:
    """Of DIANA with an analog array that takes so much longer."""

    def cycles(work: Any) -> Any:
        return price * analog_cycles(work)

    platform = Platform("priced", (DIGITAL, dataclasses.replace(ANALOG, cycles=cycles)), DIANA.clock_hz)
    model = nn.Sequential(nn.Conv2d(16, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))
    return follow_the_cost(ODiMO_MPS(model, input_shape=(16, 12, 12), platform=platform))


def test_the_mapping_follows_the_cost() -> None:
    cheap, middling, expensive = mapped(0.05), mapped(3.0), mapped(50.0)
    assert cheap == {"analog": 128}
    assert expensive == {"digital": 128}
    assert min(middling["analog"], middling["digital"]) > 16  # side by side


def test_energy_prefers_the_frugal_core() -> None:
    found = {
        name: follow_the_cost(toy(Pair, platform=TWO_CORES, cost=price))
        for name, price in (("latency", TWO_CORES.latency), ("energy", TWO_CORES.energy))
    }
    assert found["energy"]["slow"] > found["latency"]["slow"] > 0


def test_layers_that_nothing_can_run_are_refused_unless_excluded() -> None:
    only = Platform("only", (dataclasses.replace(DIGITAL, ops=frozenset({"conv", "linear"})), ANALOG), DIANA.clock_hz)
    with pytest.raises(UsageError, match="no accelerator of only") as caught:
        toy(platform=only)
    assert "deep" in str(caught.value.hints)
    search = toy(platform=only, exclude_names=("deep",)).eval()
    assert "deep" not in search.assignment()
    ops = weighted(integerize(search.export()))
    assert ops["deep"].accelerators == ()
    assert ops["first"].accelerators == ("digital",) * 6


def test_other_costs_and_copies() -> None:
    prices = {"time": DIANA.latency, "bits": cost.params_bit, "ram": cost.peak_ram}
    search = toy(Pair, seed=2, cost=prices)
    other = copy.deepcopy(search)
    for name in prices:
        assert float(search.get_cost(name).detach()) == float(other.get_cost(name).detach()) > 0
    assert other.assignment() == search.assignment()


def test_hard_choices_cost_in_training_what_they_cost_exported() -> None:
    search = toy(seed=2, hard_softmax=True)
    price = search.cost
    torch.autograd.backward(price)
    assert all(alpha.grad is not None and bool(alpha.grad.any()) for alpha in search.nas_parameters())
    assert float(price.detach()) == pytest.approx(float(search.eval().cost.detach()), rel=1e-6)


def test_training_on_digits() -> None:
    torch.manual_seed(0)
    data = load_digits()
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
    model = DigitsNet()
    train(model, list(model.parameters()), x, y, epochs=6)
    search = ODiMO_MPS(model, input_example=x[:1], calibration=[x[:256]]).train()
    before = float(search.eval().cost.detach())
    search.train()
    weights = [{"params": list(search.net_parameters())}, {"params": list(search.nas_parameters()), "lr": 0.05}]
    train(search, weights, x, y, epochs=2, price=0.3 / before)
    assert float(search.eval().cost.detach()) < before
    counts = Counter(name for names in search.assignment().values() for name in names)
    assert min(counts["analog"], counts["digital"]) > 0
    exported = search.export().train()
    train(exported, list(exported.parameters()), x, y, epochs=2)
    made = lower(exported.eval(), "digits")
    images = torch.from_numpy(data.test.x)
    codes = [torch.from_numpy(np.asarray(code)) for code in input_codes(made, images)]
    (scores,) = ExactNetwork(made.network)(*codes)
    assert float((scores.argmax(1).numpy() == data.test.y).mean()) > 0.85
    manifest = Manifest.parse(generate(made.network, Options()).files["manifest.json"])
    assert {name for step in manifest.steps for name in step.accelerators} == {"analog", "digital"}


def train(model: nn.Module, parameters: Any, x: Tensor, y: Tensor, *, epochs: int, price: float = 0.0) -> None:
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    for _ in range(epochs):
        for batch in torch.tensor_split(torch.randperm(len(x)), len(x) // 64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            if isinstance(model, ODiMO_MPS):
                loss = loss + price * model.cost
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
