# SPDX-License-Identifier: Apache-2.0
"""Templates: undefined names are errors, helpers come with those they use."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from plinio_deploy.codegen import Options, generate, render
from plinio_deploy.codegen.emit import Helpers
from plinio_deploy.codegen.layout import tidy
from tests.codegen.dsp_cases import DSP
from tests.codegen.edge_cases import NETWORKS as EDGES
from tests.codegen.on_request import asked
from tests.codegen.ops_cases import CASES
from tests.codegen.winograd_cases import WINOGRAD
from tests.networks import packed_rows

HELPERS = sorted(
    path.name.removesuffix(".h.j2") for path in (Path(render.__file__).parent / "templates" / "helpers").iterdir()
)

ISAS = (("dsp",), ("dsp", "mve"), ("thumb2",), ("thumb1",), ("rv32im",), ("rv32im", "xpulp"))
"""Features of targets: kernels for them use helpers that plain C does not."""


def test_a_name_that_nobody_gives_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="undefined"):
        render.render("ops/reshape_copy.c.j2", {})


def test_helpers_come_after_those_that_they_use_and_only_once() -> None:
    texts = render.helpers("net", Helpers({"requantize_double", "requantize", "clamp"}))
    names = [text.split("net_")[1].split("(")[0] for text in texts]
    assert sorted(names) == ["clamp", "multiply_double", "requantize", "requantize_double"]
    assert names.index("clamp") < names.index("requantize")
    assert names.index("multiply_double") < names.index("requantize_double")


@pytest.mark.parametrize("name", HELPERS)
def test_each_helper_is_one_documented_static_inline_function_of_its_name(name: str) -> None:
    text = render.helpers("net", Helpers({name}))[-1]
    assert text.startswith("/** ")
    assert text.count("static inline ") == 1
    assert f" net_{name}(" in text
    assert tidy(text).endswith("}\n")


def test_the_golden_cases_use_every_helper() -> None:
    texts = [generate(make()).files["net_kernels.h"].decode() for make in CASES.values()]
    texts += [generate(make(), Options(isa=isa)).files["net_kernels.h"].decode() for make in EDGES for isa in ISAS]
    texts += [generate(make(), Options(isa=("dsp",))).files["net_kernels.h"].decode() for make in DSP.values()]
    texts.append(generate(packed_rows()).files["net_kernels.h"].decode())
    on_request = [
        (DSP["conv_shapes"](), "conv_wide_dsp"),
        (DSP["linear_shapes"](), "linear_wide_dsp"),
        (WINOGRAD["shapes"](), "conv_winograd"),
    ]
    for network, kernel in on_request:
        found = generate(network, Options(isa=("dsp",), schedule=asked(network, kernel)))
        texts.append(found.files["net_kernels.h"].decode())
    unused = [name for name in HELPERS if not any(f" net_{name}(" in text for text in texts)]
    assert unused == []
