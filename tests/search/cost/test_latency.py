# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from plinio_deploy.errors import UnknownTarget, UsageError
from plinio_deploy.search import cost
from plinio_deploy.targets.calibration.power import POWER
from tests.search.cost.record import gradients, record
from tests.targets.test_luts import TABLE, write

SHAPE = (1, 16, 8, 8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path, "cortex-m4", TABLE)
    monkeypatch.setenv("PLINIO_DEPLOY_TARGETS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(16, 32, 3, padding=1), SHAPE, 294_912 * 1.5 + 16 * 9 * 64 * 0.5 + 2048 * 4 + 100),
        (nn.Conv2d(16, 32, 1), SHAPE, 32_768 * 1.5 + 16 * 64 * 0.5 + 2048 * 4 + 100),
        (nn.Conv2d(16, 16, 3, padding=1, groups=16), SHAPE, 9216 * 3 + 1024 * 6),
        (nn.Linear(64, 10), (1, 64), 640 * 2 + 50),
    ],
    ids=["conv", "pointwise falls back on conv", "depthwise", "linear"],
)
def test_the_form_is_evaluated_on_counts_of_the_layer(
    layer: nn.Module, shape: tuple[int, ...], expected: float
) -> None:
    use = record(nn.Sequential(layer), shape)
    assert float(cost.evaluate(cost.latency("cortex-m4"), use)) == expected
    assert float(cost.evaluate(cost.energy("cortex-m4"), use)) == pytest.approx(expected * 0.1e-9)


def test_adds_are_charged_and_missing_rows_named() -> None:
    spec = {"elements": 100.0, "inputs": 2, "input_shape": SHAPE, "output_shape": SHAPE}
    add = cost.NetworkUse((cost.LayerUse("add", cost.Add, spec),))
    assert float(cost.evaluate(cost.latency("cortex-m4"), add)) == 100 * 5
    pool = cost.NetworkUse((cost.LayerUse("pool", cost.Pool, {**spec, "kernel_size": (2, 2)}),))
    with pytest.raises(UsageError, match="no row for pool at 8-bit activations") as caught:
        cost.evaluate(cost.latency("cortex-m4"), pool)
    assert "plinio-deploy calibrate --target cortex-m4" in caught.value.hints[0]


def test_pruned_channels_take_no_time_and_all_counts_get_gradients() -> None:
    use = record(nn.Sequential(nn.Conv2d(16, 32, 3, padding=1)), SHAPE).layers[0]
    cin, cout = torch.tensor(7.5, requires_grad=True), torch.tensor(9.5, requires_grad=True)
    spec = {**use.spec, "in_channels": cin, "out_channels": cout}
    total = cost.evaluate(
        cost.latency("cortex-m4"), cost.NetworkUse((cost.LayerUse("c", use.kind, spec, static=use.spec),))
    )
    by_cin, by_cout = gradients(total, cin, cout)
    assert by_cin.item() == pytest.approx(9.5 * 9 * 64 * 1.5 + 9 * 64 * 0.5, rel=1e-4)
    assert by_cout.item() == pytest.approx(7.5 * 9 * 64 * 1.5 + 64 * 4, rel=1e-4)
    none = cost.NetworkUse((cost.LayerUse("c", use.kind, {**use.spec, "w_precision": 0}, static=use.spec),))
    assert float(cost.evaluate(cost.latency("cortex-m4"), none)) == 0


def test_a_target_without_a_table_names_the_command() -> None:
    with pytest.raises(UsageError, match="'host' has no calibrated cost table") as caught:
        cost.latency("host")
    assert "plinio-deploy calibrate --target host" in caught.value.hints[0]
    with pytest.raises(UnknownTarget):
        cost.latency("cortex-m5")


def test_energy_needs_a_published_figure(folder: Path) -> None:
    write(folder, "cortex-m55", {**TABLE, "target": "cortex-m55", "milliwatt_per_mhz": None})
    with pytest.raises(UsageError, match="cannot give energy") as caught:
        cost.energy("cortex-m55")
    assert "milliwatt_per_mhz" in caught.value.hints[1]


@pytest.mark.parametrize(
    ("target", "nanojoule"),
    [
        ("cortex-m0plus", 0.279),
        ("cortex-m3", 1.08),
        ("cortex-m4", 0.2145),
        ("cortex-m7", 0.913),
        ("cortex-m33", 0.0609),
    ],
)
def test_a_table_without_a_figure_takes_the_one_of_the_core(folder: Path, target: str, nanojoule: float) -> None:
    write(folder, target, {**TABLE, "target": target, "milliwatt_per_mhz": None, "power_source": None})
    use = record(nn.Sequential(nn.Linear(64, 10)), (1, 64))
    assert float(cost.evaluate(cost.energy(target), use)) == pytest.approx(1330 * nanojoule * 1e-9, rel=1e-3)
    assert cost.energy(target).unit == "J"
    assert any(word in POWER[target].source for word in ("table", "section", "CPU running"))


def test_a_table_of_instructions_gives_no_energy(folder: Path) -> None:
    write(folder, "cortex-m4", {**TABLE, "unit": "instructions"})
    with pytest.raises(UsageError, match="unit instructions"):
        cost.energy("cortex-m4")
