# SPDX-License-Identifier: Apache-2.0
"""What lies where in an ELF file: sections, symbols, sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

Kind = Literal["code", "constant", "data", "zero", "stack"]
"""`data` is held in flash and in RAM, `zero` in RAM only; `stack` is what the linker script reserves."""


@dataclass(frozen=True)
class Section:
    """A section that takes memory on the target."""

    name: str
    address: int
    size: int
    kind: Kind


@dataclass(frozen=True)
class Symbol:
    """A function or object of nonzero size.

    Attributes:
        name: as in the ELF file, e.g. `net_l03_conv1` or `net_l03_conv1.part.0`.
        address: first byte (without Thumb's low bit).
        size: bytes.
        kind: of the section that holds it.
        file: base name of the source, known for file-local symbols only; else empty.
    """

    name: str
    address: int
    size: int
    kind: Kind
    file: str = ""

    @property
    def stem(self) -> str:
        """The name in the source: without the suffix of a clone that the compiler made."""
        return self.name.partition(".")[0]


PHASE_MARK = "__phase_"
"""What separates a function's name from a phase's in the name of a label: `net_l03_conv1__phase_im2col`."""


@dataclass(frozen=True)
class Label:
    """Where a phase of a function begins: a symbol without size whose name says so.

    A name may end in a dot and a number, so that one phase can begin in several places.
    """

    function: str
    phase: str
    address: int


@dataclass(frozen=True)
class Image:
    """An ELF file's sections, symbols and labels of phases, all sorted by address."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    labels: tuple[Label, ...] = ()

    def bytes_of(self, *kinds: Kind) -> int:
        """Total size of the sections of some kinds."""
        return sum(section.size for section in self.sections if section.kind in kinds)

    @property
    def flash_bytes(self) -> int:
        """Code, constants and the first values of variables."""
        return self.bytes_of("code", "constant", "data")

    @property
    def ram_bytes(self) -> int:
        """Variables, the arena included; the stack is not."""
        return self.bytes_of("data", "zero")

    def named(self, stem: str) -> tuple[Symbol, ...]:
        """The symbols that one name in the source became: itself and its clones; the plain name first."""
        return tuple(sorted((symbol for symbol in self.symbols if symbol.stem == stem), key=lambda found: found.name))

    def of_sources(self, prefix: str, files: Iterable[str], *, without: Iterable[str] = ()) -> Iterator[Symbol]:
        """Symbols of some sources: local ones by their file, the others by the prefix of their name.

        Args:
            prefix: all external names of those sources start with it and an underscore.
            files: base names of the sources.
            without: stems to leave out.
        """
        wanted, unwanted = frozenset(files), frozenset(without)
        for symbol in self.symbols:
            ours = symbol.file in wanted or (not symbol.file and symbol.name.startswith(f"{prefix}_"))
            if ours and symbol.stem not in unwanted:
                yield symbol

    def locate(self, address: int) -> str:
        """`function+0x12` for an address in code; the plain address if no symbol covers it."""
        address &= ~1
        for symbol in self.symbols:
            if symbol.kind == "code" and symbol.address <= address < symbol.address + symbol.size:
                return f"{symbol.name}+{address - symbol.address:#x}"
        return f"{address:#010x}"


def read(path: Path) -> Image:
    """Read an ELF file that we linked."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        thumb = elf["e_machine"] == "EM_ARM"
        kinds: dict[int, Kind] = {}
        sections = []
        for index, section in enumerate(elf.iter_sections()):
            flags = section["sh_flags"]
            if flags & SH_FLAGS.SHF_ALLOC and section["sh_size"]:
                kinds[index] = _kind(section.name, flags, section["sh_type"] == "SHT_NOBITS")
                sections.append(Section(section.name, section["sh_addr"], section["sh_size"], kinds[index]))
        symbols = []
        labels = []
        table = elf.get_section_by_name(".symtab")
        file = ""
        for entry in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
            kind = entry["st_info"]["type"]
            if kind == "STT_FILE":
                file = entry.name
            if PHASE_MARK in entry.name and not entry["st_size"] and entry["st_shndx"] in kinds:
                function, _, phase = entry.name.partition(".")[0].partition(PHASE_MARK)
                labels.append(Label(function, phase, entry["st_value"] & (~1 if thumb else ~0)))
            if kind not in {"STT_FUNC", "STT_OBJECT"} or not entry["st_size"] or entry["st_shndx"] not in kinds:
                continue
            local = entry["st_info"]["bind"] == "STB_LOCAL"
            address = entry["st_value"] & ~1 if thumb and kind == "STT_FUNC" else entry["st_value"]
            symbols.append(
                Symbol(entry.name, address, entry["st_size"], kinds[entry["st_shndx"]], file if local else "")
            )
    return Image(
        tuple(sorted(sections, key=lambda section: section.address)),
        tuple(sorted(symbols, key=lambda symbol: (symbol.address, symbol.name))),
        tuple(sorted(labels, key=lambda label: (label.address, label.phase))),
    )


def segments(path: Path) -> tuple[tuple[int, bytes], ...]:
    """What a loader puts into memory: (load address, content) of every segment that has content."""
    with path.open("rb") as stream:
        return tuple(
            (segment["p_paddr"], segment.data())
            for segment in ELFFile(stream).iter_segments("PT_LOAD")
            if segment["p_filesz"]
        )


def _kind(name: str, flags: int, no_bits: bool) -> Kind:
    if name == ".stack":
        return "stack"
    if flags & SH_FLAGS.SHF_EXECINSTR:
        return "code"
    if not flags & SH_FLAGS.SHF_WRITE:
        return "constant"
    return "zero" if no_bits else "data"
