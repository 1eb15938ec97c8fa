# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.codegen import Options
from plinio_deploy.console import Terminal
from plinio_deploy.errors import UsageError
from plinio_deploy.pipeline import line, search, train
from plinio_deploy.pipeline.request import Limits, Request, Search, Training
from plinio_deploy.pipeline.workspace import Workspace
from plinio_deploy.targets import registry

RECIPE = Path(__file__).with_name("searched_recipe.py")
QUIET = Terminal(-1)


def request(out: Path, **wanted: object) -> Request:
    chosen = Search(**{"methods": ("pit",), "strength": 0.5, "epochs": 1, "tune_epochs": 1, **wanted})  # type: ignore[arg-type]
    return Request(Workspace(out), str(RECIPE), training=Training(epochs=1, qat_epochs=1), search=chosen)


def test_searches_once_and_then_keeps(tmp_path: Path) -> None:
    asked = request(tmp_path / "out")
    first = line.search_only(asked, QUIET)
    assert not first.kept
    assert line.search_only(asked, QUIET).kept
    expected = {"network.safetensors", "pit.safetensors", "architecture.json", "record.jsonl", "pareto.json"}
    assert set(first.outputs) == expected
    assert first.facts["methods"] == ["pit"]
    assert not line.search_only(request(tmp_path / "out", strength=0.6), QUIET).kept
    assert line.train_only(asked, QUIET).facts["qat_epochs"] == 1


def test_the_integer_network_is_the_searched_one(tmp_path: Path) -> None:
    record = line.integerize_only(request(tmp_path / "out", strength=3.0, epochs=6), QUIET)
    searched = Workspace(tmp_path / "out").search.record()
    assert searched is not None
    assert record.facts["in_float"] == searched.facts["quantized_metric"]
    assert record.facts["in_seed"] == searched.facts["seed_metric"]
    # 8 filters of 9 taps and their 8 of 72 as they are; the search takes some.
    text = (tmp_path / "out" / "integerize" / "network.txt").read_text(encoding="utf-8")
    assert "conv" in text
    seed, *_, final = searched.facts["points"]
    assert final["costs"]["size"] < seed["costs"]["size"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Search(("pit",)), "needs a goal"),
        (Search(("pitt",), 1.0), "no such method"),
        (Search(("pit",), limits=Limits(cycles=1000)), "cycles are those of a target"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(asked: Search, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        search.check(asked, ())


def test_cycles_need_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plinio_deploy.targets.luts.FOLDER", Path("/nowhere"))
    with pytest.raises(UsageError, match="cortex-m4"):
        search.check(Search(("pit",), limits=Limits(cycles=1000)), (registry.load("cortex-m4"),))


def test_a_limit_on_cycles_that_a_target_does_not_tell_is_refused_before_training() -> None:
    m4, rv32, ibex = (registry.load(name) for name in ("cortex-m4", "rv32imc", "ibex"))
    limited, priced = Search(limits=Limits(cycles=1000)), Search(("pit",), 1.0, "cycles")
    search.check(limited, (m4, ibex))
    search.check(priced, (rv32,))  # its table's unit is instructions: a price all the same
    with pytest.raises(UsageError, match="nothing measures cycles on rv32imc"):
        search.check(limited, (m4, rv32))


@pytest.mark.qemu
@pytest.mark.parametrize(
    "asked", [Search(("mps",), limits=Limits(16384, cycles=10**6)), Search(("mps",), 0.3, "cycles")]
)
def test_where_cycles_count_the_fast_kernels_have_to_fit(tmp_path: Path, asked: Search) -> None:
    request = Request(Workspace(tmp_path / "out"), "digits", ("cortex-m4",))
    trainer = train.prepare(request, QUIET)
    target = registry.load("cortex-m4")
    small = search.Task(trainer, Search(("mps",), limits=Limits(16384)), (target,), Options())
    fast = search.Task(trainer, asked, (target,), Options())
    assert [kind.features for kind in small.sized()] == [()]
    assert [kind.features for kind in fast.sized()] == [target.features]
    if asked.limits.flash is not None:
        assert search.rehearse(fast, QUIET)["flash"] > search.rehearse(small, QUIET)["flash"] + 1000


def test_a_search_without_methods_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to search with"):
        line.search_only(request(tmp_path / "out", methods=()), QUIET)
