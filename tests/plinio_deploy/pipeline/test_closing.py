# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.console import Terminal
from plinio_deploy.pipeline import closing, line
from plinio_deploy.pipeline.calibration.micro import Builder, Spec
from plinio_deploy.pipeline.calibration.table import dump
from plinio_deploy.pipeline.request import Request, Search, Training
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import luts, registry
from plinio_deploy.targets.calibration.prediction import predict
from plinio_deploy.targets.luts import Lut

RECIPE = Path(__file__).with_name("searched_recipe.py")


def wrong(factor: float) -> Lut:
    """The table of the Cortex-M4 with everything dearer by a factor."""
    lut = luts.load("cortex-m4")
    rows = [
        row.model_copy(update={"coefficients": {name: factor * value for name, value in row.coefficients.items()}})
        for row in lut.terms
    ]
    return lut.model_copy(update={"terms": tuple(rows)})


@pytest.mark.qemu
def test_a_wrong_table_is_off_and_learns_from_what_was_measured() -> None:
    built = Builder("two", 0)
    first = built.add(Spec("conv", 3, 8, (8, 8), (3, 3), w_bits=(8,)), "first")
    network = built.build([built.add(Spec("conv", 8, 16, (8, 8), (3, 3), w_bits=(4,)), "second", (first,)).name])
    found = closing.check(network, registry.load("cortex-m4"), wrong(1.4))
    assert found is not None
    assert found.is_off
    assert found.deviation > 0.2
    better = predict(found.refitted(), network).total
    assert abs(better / found.measured - 1) < closing.BOUND / 2


def test_what_counts_nothing_is_not_checked() -> None:
    built = Builder("one", 0)
    network = built.build([built.add(Spec("linear", 8, 4), "only").name])
    assert closing.check(network, registry.load("host"), None) is None


@pytest.mark.qemu
def test_a_search_on_a_wrong_table_searches_again_on_one_that_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "targets" / "luts"
    folder.mkdir(parents=True)
    (folder / "cortex-m4.json").write_text(dump(wrong(1.4)), encoding="utf-8")
    monkeypatch.setenv("PLINIO_DEPLOY_TARGETS", str(folder.parent))
    asked = Search(("pit",), strength=0.5, cost="cycles", epochs=1, tune_epochs=1)
    request = Request(
        Workspace(tmp_path / "out"),
        str(RECIPE),
        ("cortex-m4",),
        training=Training(epochs=1, qat_epochs=1),
        search=asked,
    )
    facts = line.search_only(request, Terminal(-1)).facts
    assert facts["cycles"]["refits"] >= 1
    assert facts["tries"] == facts["cycles"]["refits"] + 1
    assert facts["cycles"]["predicted"] == pytest.approx(facts["cycles"]["measured"], rel=closing.BOUND)
