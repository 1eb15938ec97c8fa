# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ci.readme import RUN_MARK, Block, blocks, commands, make_targets, problems
from ci.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

PAGE = f"""
Type `make demo`, or `plinio-deploy run digits --target host`. See [the tests](tests/) and [us](https://example.org).

```sh
make test JOBS=4  # everything
```

{RUN_MARK}
```sh
$ plinio-deploy \\
    doctor
```

```c
make nothing
```
"""


def test_blocks_are_found_with_their_mark() -> None:
    assert list(blocks(PAGE)) == [Block(("make test JOBS=4",), False), Block(("plinio-deploy      doctor",), True)]


def test_commands_come_from_blocks_and_from_the_text() -> None:
    found = [" ".join(words[:2]) for words in commands(PAGE)]
    assert found == ["make test", "plinio-deploy doctor", "make demo", "plinio-deploy run"]


def test_kept_promises_are_no_problem() -> None:
    assert problems(PAGE, {"demo", "test"}, ["doctor", "run"], ROOT) == []


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("`make tea`", "README.md: `make tea` does not exist"),
        ("```sh\nplinio-deploy brew --hot\n```\n", "README.md: `plinio-deploy brew` does not exist"),
        ("[a page](docs/none.md#top)", "README.md: docs/none.md does not exist"),
        ("| `ci/`, `tests/ci/` | checks | `test_tea.py` |", "README.md: tests/ci/test_tea.py does not exist"),
        ("| `tea/` | leaves | none |", "README.md: tea does not exist"),
        ("TO" + "DO: figures", "README.md: unfinished: TO" + "DO"),
    ],
)
def test_broken_promises_are_named(page: str, sentence: str) -> None:
    assert problems(page, {"demo"}, ["run"], ROOT) == [sentence]


def test_targets_of_a_makefile() -> None:
    assert make_targets(".PHONY: all\nX := 1\nall: setup ## everything\n\tcc\nset-up:\n") == {"all", "set-up"}


RUN_BLOCKS = [block.commands for block in blocks(README) if block.run]


@pytest.mark.parametrize("lines", RUN_BLOCKS, ids=[lines[0] for lines in RUN_BLOCKS])
def test_a_marked_block_of_the_readme_runs(lines: tuple[str, ...], tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", "\n".join(lines)], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_has_blocks_that_run() -> None:
    assert RUN_BLOCKS


def test_the_python_of_the_readme_runs() -> None:
    torch = pytest.importorskip("torch")
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 10)
    )
    batches = [(torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long))]
    names = {"torch": torch, "model": model, "batches": batches, "criterion": torch.nn.functional.cross_entropy}
    exec(code, names)  # noqa: S102 - what is tried is the README itself
    x = batches[0][0]
    assert torch.allclose(names["smaller"](x), names["nas"](x), atol=1e-5)
