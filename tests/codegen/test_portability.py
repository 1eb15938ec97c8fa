# SPDX-License-Identifier: Apache-2.0
"""Every compiler takes the C without a warning; it calls and owns nothing it should not; it installs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycparser import c_ast, c_parser

from plinio_deploy.codegen import Schedule
from plinio_deploy.codegen.schedule import Bands
from tests.codegen.harness import STRICT, Case, compile_c, gcc, make_case
from tests.networks import NETWORKS, digits_cnn, random_network, residual

SEEDS = range(200, 203)


def find_clang() -> str | None:
    return shutil.which(os.environ.get("PLINIO_DEPLOY_CLANG", "clang"))


needs_clang = pytest.mark.skipif(find_clang() is None, reason="not installed: clang; try: apt-get install clang")
needs_cmake = pytest.mark.skipif(
    shutil.which("cmake") is None, reason="not installed: cmake; try: apt-get install cmake"
)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Case]]:
    """All fixed networks in both flavours, some random ones, and one in bands of rows, written to disk."""
    networks = [make(flavour) for make in NETWORKS.values() for flavour in ("hi32", "tflite")]
    networks += [random_network(seed) for seed in SEEDS]
    banded = residual()
    bands = Bands(first=banded.ops[0].name, last=banded.ops[3].name, rows=3)
    found = []
    for network in [*networks, banded]:
        folder = tmp_path_factory.mktemp(network.name)
        case = make_case(network, samples=2, schedule=Schedule(bands=bands if network is banded else None))
        case.artifact.write(folder)
        found.append((folder, case))
    return found


def sources(projects: list[tuple[Path, Case]]) -> list[str]:
    return [str(path) for folder, _ in projects for path in sorted(folder.glob("*.c"))]


def compile_all(command: list[str], projects: list[tuple[Path, Case]], folder: Path) -> None:
    """Compile each project on its own: their symbols are the same, objects land in one folder and are overwritten."""
    for project, _ in projects:
        names = [str(path) for path in sorted(project.glob("*.c"))]
        result = subprocess.run([*command, "-c", *names], capture_output=True, text=True, cwd=folder)
        assert result.returncode == 0, result.stderr[:4000]


@pytest.mark.host
@pytest.mark.parametrize("level", ["-O2", "-O3"])
def test_gcc_on_this_machine(level: str, projects: list[tuple[Path, Case]], tmp_path: Path) -> None:
    compile_all([gcc(), *STRICT, "-Wshadow", "-Wcast-qual", "-Wstrict-prototypes", level], projects, tmp_path)


@pytest.mark.host
@needs_clang
def test_clang_on_this_machine(projects: list[tuple[Path, Case]], tmp_path: Path) -> None:
    compile_all([find_clang() or "", *STRICT, "-Wshadow", "-Wcast-qual", "-O2"], projects, tmp_path)


ARM = os.environ.get("PLINIO_DEPLOY_GCC_ARM", "arm-none-eabi-gcc")
RISCV = os.environ.get("PLINIO_DEPLOY_GCC_RISCV", "riscv64-unknown-elf-gcc")
CORES = {
    "cortex-m0plus": [ARM, "-mcpu=cortex-m0plus", "-mthumb"],
    "cortex-m4": [ARM, "-mcpu=cortex-m4", "-mthumb"],
    "cortex-m55": [ARM, "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"],
    "rv32imc": [RISCV, "--specs=picolibc.specs", "-march=rv32imc", "-mabi=ilp32"],
}


@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
def test_cross_gcc(core: str, projects: list[tuple[Path, Case]], tmp_path: Path) -> None:
    compile_all([*CORES[core], *STRICT, "-O2"], projects, tmp_path)


def system_includes(compiler: list[str]) -> list[str]:
    """The include folders of a cross gcc, for a clang that has none of its own."""
    command = [*compiler, "-xc", "-E", "-v", os.devnull]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    folders = [line.strip() for line in lines if line.startswith(" /") and " -" not in line]
    return [flag for folder in folders for flag in ("-isystem", folder)]


@pytest.mark.qemu
@needs_clang
@pytest.mark.parametrize(
    ("core", "flags"),
    [
        ("cortex-m4", ["--target=arm-none-eabi", "-mcpu=cortex-m4"]),
        ("cortex-m0plus", ["--target=arm-none-eabi", "-mcpu=cortex-m0plus"]),
        ("rv32imc", ["--target=riscv32-unknown-elf", "-march=rv32imc"]),
    ],
)
def test_cross_clang(core: str, flags: list[str], projects: list[tuple[Path, Case]]) -> None:
    includes = system_includes(CORES[core])
    assert includes
    compile_c([find_clang() or "", *flags, *STRICT, "-fsyntax-only", "-nostdinc", *includes, *sources(projects)])


@pytest.mark.host
@pytest.mark.parametrize("standard", ["-std=c++98", "-std=c++17"])
def test_the_headers_serve_cpp(standard: str, tmp_path: Path) -> None:
    case = make_case(digits_cnn())
    case.artifact.write(tmp_path)
    (tmp_path / "main.cpp").write_text(
        '#include "net.h"\n#include "net_trace.h"\n#include "net_selftest.h"\n'
        "static uint8_t arena[NET_ARENA_BYTES];\n"
        "int main() { int32_t bad; return net_selftest(arena, &bad) + (net_steps[0].place > 1); }\n"
    )
    manifest = case.manifest
    objects = [*manifest.sources, *manifest.trace_sources, *manifest.selftest_sources]
    for name in objects:
        compile_c([gcc(), *STRICT, "-c", str(tmp_path / name), "-o", str(tmp_path / f"{name}.o")])
    program = str(tmp_path / "main")
    compiler = "g++" if gcc() == "gcc" else gcc().replace("gcc", "g++")
    if standard == "-std=c++98":
        standard = "-std=gnu++98"  # <stdint.h> came to C++ in 2011; compilers had it before
    flags = [standard, "-Wall", "-Wextra", "-Werror"]
    compile_c(
        [compiler, *flags, "-o", program, str(tmp_path / "main.cpp"), *(str(tmp_path / f"{n}.o") for n in objects)]
    )
    assert subprocess.run([program], check=False).returncode == 0


FAKE_HEADERS = {
    "stdint.h": "".join(
        f"typedef {c} {'u' * unsigned}int{bits}_t;\n"
        for bits, base in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
        for unsigned, c in ((False, f"signed {base}"), (True, f"unsigned {base}"))
    ),
    "string.h": "void *memcpy(void *, const void *, unsigned long);\nvoid *memset(void *, int, unsigned long);\n",
}


class _Audit(c_ast.NodeVisitor):  # type: ignore[misc]  # pycparser ships no types
    """Collects calls, and variables with static storage that can be changed."""

    def __init__(self) -> None:
        self.calls: set[str] = set()
        self.mutable: list[str] = []
        self.floats: list[str] = []
        self.depth = 0

    def visit_FuncDef(self, node: c_ast.FuncDef) -> None:  # noqa: N802 - pycparser's names
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_FuncDecl(self, node: c_ast.FuncDecl) -> None:  # noqa: N802
        self.depth += 1  # parameters are no variables with static storage
        self.generic_visit(node)
        self.depth -= 1

    def visit_Struct(self, node: c_ast.Struct) -> None:  # noqa: N802
        self.depth += 1  # nor are members
        self.generic_visit(node)
        self.depth -= 1

    def visit_FuncCall(self, node: c_ast.FuncCall) -> None:  # noqa: N802
        self.calls.add(node.name.name if isinstance(node.name, c_ast.ID) else "a pointer")
        self.generic_visit(node)

    def visit_Decl(self, node: c_ast.Decl) -> None:  # noqa: N802
        is_variable = not isinstance(node.type, c_ast.FuncDecl | c_ast.Struct)
        is_static = self.depth == 0 or "static" in node.storage
        if is_variable and is_static and not self._is_const(node.type):
            self.mutable.append(node.name)
        self.generic_visit(node)

    def visit_IdentifierType(self, node: c_ast.IdentifierType) -> None:  # noqa: N802
        if {"float", "double"} & set(node.names):
            self.floats.append(" ".join(node.names))

    @staticmethod
    def _is_const(node: c_ast.Node) -> bool:
        while isinstance(node, c_ast.ArrayDecl):
            node = node.type
        return "const" in getattr(node, "quals", [])


def audit(text: Path, folder: Path) -> _Audit:
    """What a C file calls and owns."""
    fake = folder / "fake"
    fake.mkdir(exist_ok=True)
    for name, content in FAKE_HEADERS.items():
        (fake / name).write_text(content)
    command = [gcc(), "-std=c99", "-E", "-P", "-nostdinc", "-I", str(fake), str(text)]
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    visitor = _Audit()
    visitor.visit(c_parser.CParser().parse(plain, str(text)))
    return visitor


def library_files(projects: list[tuple[Path, Case]]) -> Iterator[Path]:
    for folder, case in projects:
        manifest = case.manifest
        for name in [*manifest.sources, *manifest.trace_sources, *manifest.selftest_sources]:
            yield folder / name


@pytest.mark.host
def test_no_libc_but_memcpy_and_memset_no_mutable_globals_no_floats(
    projects: list[tuple[Path, Case]], tmp_path: Path
) -> None:
    calls: set[str] = set()
    for path in library_files(projects):
        found = audit(path, tmp_path)
        assert not found.mutable, f"{path}: {found.mutable}"
        assert not found.floats, f"{path}: {found.floats}"
        calls |= found.calls
    foreign = {name for name in calls if not name.startswith("net_")}
    assert foreign == {"memcpy", "memset"}


@pytest.mark.host
def test_the_audit_sees_what_is_forbidden(tmp_path: Path) -> None:
    bad = tmp_path / "bad.c"
    bad.write_text(
        "#include <stdint.h>\nint counter;\nconst int limit = 3;\nstatic const uint8_t *pointer;\n"
        "void *malloc(unsigned long n);\n"
        "int f(void) { static int calls; float x = 1.0f; malloc(3); return calls + (int)x; }\n"
    )
    found = audit(bad, tmp_path)
    assert found.mutable == ["counter", "pointer", "calls"]
    assert found.calls == {"malloc"}
    assert found.floats == ["float"]


@pytest.mark.host
def test_the_makefile_builds_and_tests(tmp_path: Path) -> None:
    make_case(digits_cnn(), "digits").artifact.write(tmp_path)
    result = subprocess.run(["make", "test", f"CC={gcc()}"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "libdigits.a").is_file()
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    assert not list(tmp_path.glob("*.o"))


CONSUMER = """
cmake_minimum_required(VERSION 3.13)
project(consumer C)
find_package(digits REQUIRED CONFIG)
add_executable(consumer main.c)
target_link_libraries(consumer PRIVATE digits::digits)
"""


@pytest.mark.host
@pytest.mark.slow
@needs_cmake
def test_cmake_builds_tests_installs_and_is_found(tmp_path: Path) -> None:
    source, build, prefix = tmp_path / "source", tmp_path / "build", tmp_path / "prefix"
    make_case(digits_cnn(), "digits").artifact.write(source)
    compiler = f"-DCMAKE_C_COMPILER={gcc()}"
    for command in (
        ["cmake", "-S", str(source), "-B", str(build), compiler, f"-DCMAKE_INSTALL_PREFIX={prefix}"],
        ["cmake", "--build", str(build)],
        ["ctest", "--test-dir", str(build), "--no-tests=error"],
        ["cmake", "--install", str(build)],
    ):
        compile_c(command)
    consumer = tmp_path / "consumer"
    consumer.mkdir()
    (consumer / "CMakeLists.txt").write_text(CONSUMER)
    (consumer / "main.c").write_text(
        '#include "digits.h"\nstatic uint8_t arena[DIGITS_ARENA_BYTES];\n'
        "int main(void) { static const uint8_t in[DIGITS_INPUT_BYTES] = {0}; int8_t out[DIGITS_OUTPUT_BYTES];\n"
        "digits_run(arena, in, out); return 0; }\n"
    )
    compile_c(["cmake", "-S", str(consumer), "-B", str(consumer / "b"), compiler, f"-DCMAKE_PREFIX_PATH={prefix}"])
    compile_c(["cmake", "--build", str(consumer / "b")])
    assert subprocess.run([str(consumer / "b" / "consumer")], check=False).returncode == 0
