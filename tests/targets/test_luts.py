# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plinio_deploy.errors import InvalidTargetFile, UnknownTarget, UsageError
from plinio_deploy.targets import luts

TABLE: dict[str, Any] = {
    "schema": 1,
    "target": "cortex-m4",
    "unit": "cycles",
    "source": "model",
    "terms": [
        {"op": "conv", "w_bits": 8, "coefficients": {"macs": 1.5, "columns": 0.5, "outputs": 4.0, "layer": 100.0}},
        {"op": "depthwise", "w_bits": 8, "coefficients": {"macs": 3.0, "outputs": 6.0}},
        {"op": "linear", "w_bits": 8, "coefficients": {"macs": 2.0, "layer": 50.0}},
        {"op": "add", "coefficients": {"outputs": 5.0}},
    ],
    "milliwatt_per_mhz": 0.1,
    "power_source": "made up",
    "validation": {"layers": {"median": 0.02, "p95": 0.08}, "networks": {"max": 0.04}},
    "tools": {"qemu": "7.2"},
}


def write(folder: Path, target: str, table: Mapping[str, Any]) -> Path:
    path = folder / "luts" / f"{target}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def test_a_table_in_the_users_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "cortex-m4", TABLE)
    monkeypatch.setenv("PLINIO_DEPLOY_TARGETS", str(tmp_path))
    lut = luts.load("cortex-m4")
    assert lut.target == "cortex-m4"
    assert lut.term("linear", 8, 8).coefficients == {"macs": 2.0, "layer": 50.0}
    assert lut.term("pointwise", 8, 8).op == "conv"
    assert lut.validation is not None
    assert lut.validation.layers.median == 0.02


def test_what_is_missing_is_named() -> None:
    lut = luts.parse(json.dumps(TABLE), "cortex-m4.json")
    with pytest.raises(UsageError, match="no row for conv at 4-bit weights, 8-bit activations") as caught:
        lut.term("conv", 4, 8)
    assert caught.value.expected == "one of add w- a8, conv w8 a8, depthwise w8 a8, linear w8 a8"
    with pytest.raises(UnknownTarget):
        luts.load("no-such-target")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "seconds"}, "unit"),
        ({"schema": 2}, "schema"),
        ({"terms": []}, "terms"),
        ({"terms": [{"op": "conv", "w_bits": 3, "coefficients": {}}]}, "terms.0.w_bits"),
        ({"terms": [{"op": "conv", "w_bits": 8, "coefficients": {"macs": -1.0}}]}, "terms.0.coefficients.macs"),
        ({"terms": [{"op": "conv", "w_bits": 8, "coefficients": {"moon": 1.0}}]}, "terms.0.coefficients.moon"),
        ({"terms": [{"op": "add", "coefficients": {}}] * 2}, "('add', None, 8)"),
        ({"target": "cortex-m7"}, "cortex-m7"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_table_is_refused_and_the_place_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTargetFile) as caught:
        luts.parse(json.dumps({**TABLE, **change}), "folder/cortex-m4.json")
    assert words in str(caught.value)
    assert caught.value.where == "folder/cortex-m4.json"


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidTargetFile, match="breaks its schema"):
        luts.parse("{", "cortex-m4.json")


def test_every_shipped_table_is_valid_and_has_a_target() -> None:
    for name in luts.files():
        assert luts.load(name).target == name
