# SPDX-License-Identifier: Apache-2.0
"""Layers in bands of rows compute what they compute as a whole, every row once, in less memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plinio_deploy.artifact import Artifact
from plinio_deploy.codegen import Manifest, Options, Schedule, generate
from plinio_deploy.codegen.bands import divide, runs_in_bands
from plinio_deploy.codegen.fusion import everywhere
from plinio_deploy.codegen.lower import lower
from plinio_deploy.codegen.schedule import Bands
from plinio_deploy.codegen.streaming import within
from plinio_deploy.errors import DoesNotFit, UsageError
from plinio_deploy.network import Network, op_inputs
from plinio_deploy.targets import registry
from tests.codegen.harness import Case, check_cases, make_case
from tests.codegen.test_cores import check_on
from tests.codegen.test_exactness import run_sanitized
from tests.networks import Builder, random_network

DSP = frozenset({"dsp"})
FEATURES = ((), ("dsp",), ("mve",), ("thumb1",), ("thumb2",), ("rv32im",), ("rv32im", "xpulp"))


def stages(network: Network) -> Iterator[tuple[str, str, int]]:
    """First and last layer of everything that may run in bands, and the rows of its output."""
    ops = network.ops
    for first in range(len(ops)):
        for last in range(first, len(ops)):
            if not runs_in_bands(network, ops[last]):
                break
            rows = network.tensors[ops[last].output].shape[0]
            if last > first and rows > 1:
                yield ops[first].name, ops[last].name, rows


def random_bands(network: Network, seed: int, count: int = 2) -> list[Bands]:
    """Some bands of a network that can be made; those that lie in the padding alone are passed over."""
    rng = np.random.default_rng(seed)
    found: list[Bands] = []
    able = list(stages(network))
    for index in rng.permutation(len(able))[: 4 * count]:
        first, last, rows = able[int(index)]
        bands = Bands(first=first, last=last, rows=int(rng.integers(1, rows)))
        try:
            divide(network, bands)
        except UsageError:
            continue
        found.append(bands)
    return found[:count]


def image_network(seed: int) -> Network:
    """Layers as in image classifiers: a strided first one, depthwise and pointwise ones, a residual add, pools."""
    rng = np.random.default_rng(seed)
    b = Builder(seed, "hi32", f"images{seed}")

    def quantizer() -> tuple[int, bool, float, int]:
        return (8, True, 0.05, int(rng.integers(-9, 9))) if rng.random() < 0.5 else (8, False, 0.05, 0)

    def pick(*values: int) -> int:
        return int(rng.choice(values))

    x = b.input((pick(11, 12, 16), pick(7, 8, 12), pick(1, 3, 4)), quantizer())
    x = b.conv(x, pick(4, 8), padding=(1, 1, 1, 1), stride=(pick(1, 2), 1), out=quantizer(), relu=True)
    x = b.conv(x, b.tensors[x].channels, padding=(1, pick(0, 1), 1, 1), groups=b.tensors[x].channels, out=quantizer())
    y = b.conv(x, 8, (1, 1), w_bits=(pick(2, 4, 8),), out=quantizer(), relu=True)
    z = b.conv(y, 8, padding=(1, 1, 1, 1), w_bits=(pick(4, 8),), out=quantizer())
    y = b.add(y, z, quantizer(), relu=bool(pick(0, 1)))
    y = (
        b.max_pool(y, (2, 2), (2, 2))
        if pick(0, 1)
        else b.conv(y, 8, stride=(2, 2), padding=(0, 1, 0, 1), out=quantizer())
    )
    if pick(0, 1):
        y = b.conv(y, 6, padding=(2, 2, 1, 1), dilation=(2, 1), out=quantizer())
    y = b.conv(y, 4, (1, 1), out=quantizer())
    return b.build(b.linear(b.flatten(y), 3))


def banded_cases(networks: Sequence[Network], count: int, features: tuple[str, ...] = ()) -> dict[str, Case]:
    """Networks with some bands each, by prefix."""
    cases = {}
    for index, network in enumerate(networks):
        for number, bands in enumerate(random_bands(network, index, count)):
            name = f"n{index}_{number}"
            cases[name] = make_case(network, name, isa=features, schedule=Schedule(bands=bands))
    return cases


@pytest.mark.host
def test_random_networks_in_bands(tmp_path: Path) -> None:
    cases = banded_cases([random_network(seed, ops=9) for seed in range(14)], 2)
    assert len(cases) >= 10
    check_cases(cases, tmp_path)


@pytest.mark.host
@pytest.mark.parametrize("features", FEATURES, ids=lambda found: "-".join(found) or "portable")
def test_images_in_bands_for_every_instruction_set(features: tuple[str, ...], tmp_path: Path) -> None:
    cases = banded_cases([image_network(seed) for seed in range(2)], 2, features)
    assert len(cases) == 4
    check_cases(cases, tmp_path)


@pytest.mark.host
@pytest.mark.parametrize(("seed", "features"), [(3, ()), (4, ("dsp",)), (5, ("rv32im",))])
def test_images_in_bands_under_sanitizers(seed: int, features: tuple[str, ...], tmp_path: Path) -> None:
    (case,) = banded_cases([image_network(seed)], 1, features).values()
    run_sanitized("n0_0", case, tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55", "rv32imc"])
def test_images_in_bands_on_emulated_cores(target: str, tmp_path: Path) -> None:
    (case,) = banded_cases([image_network(6)], 1, registry.load(target).features).values()
    check_on(target, case, tmp_path)


@pytest.mark.host
def test_bands_beside_those_that_meet_padding_may_need_no_scratch(tmp_path: Path) -> None:
    b = Builder(0)
    q = (8, False, 0.05, 0)
    x = b.conv(b.input((12, 3, 8), q), 8, (3, 1), padding=(1, 1, 0, 0), groups=8, out=q)
    network = b.build(b.conv(x, 8, (1, 1), padding=(1, 1, 0, 0), out=q))
    bands = Bands(first=network.ops[0].name, last=network.ops[1].name, rows=4)
    cases = {
        f"n{index}": make_case(network, f"n{index}", isa=isa, schedule=Schedule(bands=bands))
        for index, isa in enumerate((("mve",), ("thumb2",), ("rv32im",), ("rv32im", "xpulp")))
    }
    for prefix, case in cases.items():
        assert b"(void)scratch;" in case.artifact.files[f"{prefix}_layers.c"]
    check_cases(cases, tmp_path)


@pytest.mark.host
def test_a_row_that_is_not_kept_is_noticed(tmp_path: Path) -> None:
    (case,) = banded_cases([image_network(3)], 1).values()
    text = case.artifact.files["n0_0_layers.c"]
    assert b"memcpy(arena" in text
    damaged = re.sub(rb"memcpy\(arena[^;]*;", b"", text)
    wrong = replace(case, artifact=Artifact({**case.artifact.files, "n0_0_layers.c": damaged}))
    with pytest.raises(AssertionError, match="sample"):
        check_cases({"n0_0": wrong}, tmp_path)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_row_is_computed_once_and_read_where_it_lies(seed: int) -> None:
    network = image_network(seed) if seed % 2 else random_network(seed, ops=9)
    for bands in random_bands(network, seed, 2):
        stage = divide(network, bands)
        for op in stage.ops:
            rows = [row for piece in stage.pieces[op.name] for row in piece.rows]
            assert rows == list(range(network.tensors[op.output].shape[0]))
            for piece in stage.pieces[op.name]:
                for name, read in zip((*op_inputs(op), op.output), (*piece.inputs, piece.rows), strict=True):
                    if name in stage.rolling:
                        assert set(read) <= set(stage.rolling[name].rows[piece.band])
        for rolling in stage.rolling.values():
            for band, kept in enumerate(rolling.kept[:-1]):
                assert set(kept) <= set(rolling.rows[band])
                assert all(row >= kept.stop for row in set(rolling.rows[band + 1]) - set(kept))

            assert not rolling.kept[-1]


def test_the_arena_of_mobilenet_is_halved_and_nothing_is_computed_twice() -> None:
    network = mobilenet()
    whole = lower(network, "net", DSP).memory.arena_bytes
    schedule = within(network, DSP, Schedule(), whole // 2)
    manifest = Manifest.parse(generate(network, Options(isa=("dsp",), schedule=schedule)).files["manifest.json"])
    assert manifest.arena_bytes <= whole // 2 == 27_668
    assert manifest.bands is not None
    assert (manifest.bands.count, manifest.bands.recomputed_macs) == (4, 0)
    rows = {step.layer: sum(piece.rows for piece in step.pieces) for step in manifest.steps if step.pieces}
    assert rows == {op.name: network.tensors[op.output].shape[0] for op in network.ops if op.name in rows}
    assert sum(step.macs for step in manifest.steps) == manifest.macs
    parts = {buffer.tensor for buffer in manifest.buffers}
    assert any(name.endswith(":kept") for name in parts)


def mobilenet() -> Network:
    """The first layers of MobileNetV1-0.25 on 96 x 96 images."""
    b = Builder(0)
    q = (8, False, 0.05, 0)
    x = b.conv(b.input((96, 96, 3), q), 8, stride=(2, 2), padding=(1, 1, 1, 1), out=q)
    for channels, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)):
        x = b.conv(
            x, b.tensors[x].channels, stride=(stride, stride), padding=(1, 1, 1, 1), groups=b.tensors[x].channels, out=q
        )
        x = b.conv(x, channels, (1, 1), out=q)
    return b.build(b.linear(b.flatten(b.avg_pool(x, (6, 6), out=q)), 2))


def test_a_limit_that_holds_anyway_changes_nothing_and_one_that_cannot_be_met_names_the_least() -> None:
    b = Builder(0)
    x = b.conv(b.conv(b.input((16, 16, 3)), 8, padding=(1, 1, 1, 1)), 8, padding=(1, 1, 1, 1))
    network = b.build(b.linear(b.flatten(b.max_pool(x, (4, 4), (4, 4))), 3))
    whole = lower(network, "net", DSP).memory.arena_bytes
    assert within(network, DSP, Schedule(), whole) == Schedule()
    with pytest.raises(DoesNotFit, match="bytes at least") as caught:
        within(network, DSP, Schedule(), 10)
    least = int(str(caught.value.got).split()[0])
    banded = within(network, DSP, Schedule(), least)
    assert banded.bands is not None
    assert lower(network, "net", DSP, banded).memory.arena_bytes == least < whole
    assert within(network, DSP, banded, least) is banded
    loose = Schedule(bands=Bands(first=network.ops[0].name, last=network.ops[1].name, rows=8))
    assert lower(network, "net", DSP, loose).memory.arena_bytes > least
    assert within(network, DSP, loose, least) == banded


def test_layers_that_are_scheduled_as_a_whole_stay_whole() -> None:
    b = Builder(0)
    x = b.conv(b.conv(b.input((16, 8, 3)), 8, padding=(1, 1, 1, 1)), 8, padding=(1, 1, 1, 1))
    y = b.add(x, b.conv(x, 8, (1, 1)))
    network = b.build(b.linear(b.flatten(b.max_pool(y, (4, 4), (4, 4))), 3))
    along = everywhere(network, DSP)
    assert along.layers
    whole = lower(network, "net", DSP, along).memory.arena_bytes
    bands = within(network, DSP, along, whole - 1).bands
    assert bands is not None
    assert bands.last in (network.ops[0].name, network.ops[1].name)
    with pytest.raises(UsageError, match="executed along with another"):
        lower(network, "net", DSP, along.model_copy(update={"bands": bands.model_copy(update={"last": "add3"})}))


def test_headers_tell_bands_from_layers() -> None:
    b = Builder(0)
    network = b.build(b.conv(b.conv(b.input((8, 4, 2)), 2, (1, 1)), 2, (1, 1)))
    bands = Bands(first=network.ops[0].name, last=network.ops[1].name, rows=4)
    whole, banded = (
        generate(network, Options(schedule=schedule)).files for schedule in (Schedule(), Schedule(bands=bands))
    )
    text = b"those in bands of rows once for each band. */\n#define NET_STEPS 4"
    assert text in banded["net_trace.h"]
    assert b"band" not in whole["net_trace.h"]
    assert b" * band     0 to 1\n" in banded["net_layers.c"]


def test_a_schedule_with_bands_reads_back(tmp_path: Path) -> None:
    schedule = Schedule.of({"conv1": "conv_dsp"}, Bands(first="conv1", last="conv3", rows=2))
    (tmp_path / "schedule.json").write_bytes(schedule.dump())
    assert Schedule.load(tmp_path / "schedule.json") == schedule
    assert b"bands" not in Schedule().dump()


@pytest.mark.parametrize(
    ("first", "last", "rows", "match"),
    [
        ("conv0", "nothing", 1, "no layer nothing"),
        ("conv0", "conv0", 1, "1 layers"),
        ("conv0", "linear", 1, "a reshape"),
        ("conv0", "conv1", 99, "11 rows"),
    ],
)
def test_what_cannot_run_in_bands_is_refused(first: str, last: str, rows: int, match: str) -> None:
    b = Builder(0)
    x = b.conv(b.conv(b.input((11, 7, 3)), 4, padding=(1, 1, 1, 1)), 4, padding=(1, 1, 1, 1))
    network = b.build(b.linear(b.flatten(x), 3))
    names = {"conv0": network.ops[0].name, "conv1": network.ops[1].name, "linear": network.ops[-1].name}
    bands = Bands(first=names[first], last=names.get(last, last), rows=rows)
    with pytest.raises(UsageError, match=match):
        divide(network, bands)
