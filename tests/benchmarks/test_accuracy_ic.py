# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.accuracy_ic import plans, read_rows
from benchmarks.integer_judgement import weights_bytes, widths
from plinio_deploy.integerize import integerize
from plinio_deploy.quantization import LayerConfig, QuantConfig, quantize


def test_rows_are_kept_under_the_same_conditions_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"epochs": 24, "scale": 0.5, "rows": {"fixed-2": {"accuracy": 70}}}), encoding="utf-8")
    assert read_rows(path, {"epochs": 24, "scale": 0.5}) == {"fixed-2": {"accuracy": 70}}
    assert read_rows(path, {"epochs": 24, "scale": 1.0}) == {}
    assert read_rows(path, {"epochs": 24, "other": 1}) == {}
    assert read_rows(tmp_path / "none.json", {}) == {}
    assert read_rows(None, {}) == {}


def test_keys_tell_draws_and_prices_apart() -> None:
    task: Any = Namespace(given=Namespace(draws=3, fresh=(0.4, 0.15)))
    keys = set(plans(task, [], ["22 kB"]))
    assert {"channel-22kB", "channel-22kB#1", "channel-22kB#2", "layer-22kB#2", "fresh-22kB-0.4-0.15"} <= keys
    assert not any(key.startswith(("fixed", "chain", "fresh")) and "#" in key for key in keys)


def test_bytes_and_widths_are_those_of_the_integer_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    config = QuantConfig(layers={"0": LayerConfig((0, 2, 4, 8)), "3": LayerConfig(4)})
    network = integerize(quantize(model, torch.rand(1, 3, 4, 4), config).calibrate([torch.rand(4, 3, 4, 4)]).eval())
    assert widths(network, channels=6) == {"0": 1, "2": 1, "4": 3, "8": 1}
    assert weights_bytes(network) == (27 * (2 + 4 + 8) + 12 * (4 + 4)) // 8
