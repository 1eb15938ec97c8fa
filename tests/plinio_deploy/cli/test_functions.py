# SPDX-License-Identifier: Apache-2.0
"""`measure --elf`: any program's functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from plinio_deploy.cli import main
from tests.plinio_deploy.cli.conftest import RunJson
from tests.targets.timing.programs import build

SNIPPETS = {
    "leaf": "adds r0, r1, r2",
    "caller": "push {r4, lr}\n bl leaf\n bl helper\n bl leaf\n pop {r4, pc}\n .thumb_func\n helper: nop\n nop\n bx lr",
    "tail": "b leaf",
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that calls each of the snippets once."""
    return build(SNIPPETS, "cortex-m4", tmp_path_factory.mktemp("program"))


@pytest.mark.qemu
def test_callees_count_for_their_caller_unless_they_are_named(run_json: RunJson, program: Path) -> None:
    words = ("measure", "--target", "cortex-m4", "--elf", str(program), "--symbols")
    both = run_json(*words, "caller,leaf")["functions"]
    # leaf is called four times: by main, twice by caller, and by tail; each time an addition and a return.
    assert both["leaf"]["instructions"] == 4 * 2
    # push, three calls, pop, and the helper's three.
    assert both["caller"]["instructions"] == 5 + 3
    alone = run_json(*words, "caller")["functions"]
    assert alone["caller"]["instructions"] == 5 + 3 + 2 * 2
    # Two of the returns go to a call, 32 bits wide, that lies across two words: one cycle more each.
    assert alone["caller"]["cycles"] == (3 + 3 * 2 + 3 + 3) + (1 + 1 + 3) + 2 * (1 + 3) + 2
    assert run_json(*words, "tail")["functions"]["tail"]["instructions"] == 1 + 2


@pytest.mark.qemu
def test_the_model_is_named(run_json: RunJson, program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["measure", "--target", "cortex-m4", "--elf", str(program), "--symbols", "leaf"]
    document = run_json(*words)
    assert (document["cycles_source"], document["approximate"]) == ("model", False)
    assert "zero wait states" in document["cycles_conditions"]
    assert main(words) == 0
    assert "leaf" in capsys.readouterr().out


@pytest.mark.qemu
def test_a_function_that_is_not_there(run_json: RunJson, program: Path) -> None:
    words = ("measure", "--target", "cortex-m4", "--elf", str(program), "--symbols")
    document = run_json(*words, "leef", code=2)
    assert "no function leef" in document["error"]["what"]
    assert "did you mean leaf?" in document["error"]["hints"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--target", "cortex-m4"], "needs the names"),
        (["--target", "cortex-m4", "--target", "cortex-m3", "--symbols", "a"], "on one target"),
        (["--target", "host", "--symbols", "a"], "no Arm core"),
    ],
)
def test_a_wrong_request(words: list[str], what: str, run_json: RunJson, tmp_path: Path) -> None:
    document = run_json("measure", "--elf", str(tmp_path / "none.elf"), *words, code=2)
    assert what in document["error"]["what"]
