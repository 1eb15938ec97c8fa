# SPDX-License-Identifier: Apache-2.0
"""Runs the bench on an emulated core.

Arm: the request and the response are files that the firmware opens by semihosting. RISC-V: they lie in a window of the
guest's RAM, which is a file of ours that QEMU maps; an RTL test bench loads and dumps the same addresses.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

from plinio_deploy.errors import UsageError
from plinio_deploy.targets import elf as elf_file
from plinio_deploy.targets import toolchains
from plinio_deploy.targets.runners import plugin, process, wire
from plinio_deploy.targets.runners.base import InstructionCounts, RunRequest, RunResult
from plinio_deploy.targets.schema import Qemu, Target

_WINDOW = struct.Struct("<4s4I3I")


class QemuRunner:
    """One target's emulator."""

    name = "qemu"

    def __init__(self, target: Target, options: Sequence[str] = ()) -> None:
        """Look the emulator up.

        Args:
            target: what to emulate.
            options: given to QEMU as well, e.g. `("-icount", "shift=0")`.

        Raises:
            ToolMissing: it is not installed.
            UsageError: the target has no `[qemu]` table.
        """
        if target.qemu is None or target.memory is None:
            raise UsageError(f"{target.name} names no QEMU machine", where=target.source)
        self._qemu: Qemu = target.qemu
        self._window = target.memory.window
        self._options = tuple(options)
        self._emulator = toolchains.require(f"qemu-{target.qemu.system}")

    def run(self, elf: Path, request: RunRequest) -> RunResult:
        """Run every sample of the request; see `base.Runner`.

        Samples that do not fit the memory window together are run in several goes.
        """
        with process.scratch() as folder:
            ended, data = self._run_once(elf, request, folder)
            if ended.code == wire.EXIT_NO_ROOM and request.samples > 1:
                middle = request.samples // 2
                first = self.run(elf, request.part(0, middle))
                second = self.run(elf, request.part(middle, request.samples))
                return RunResult(
                    first.outputs + second.outputs,
                    first.sample_bytes,
                    first.stack_peak_bytes,
                    first.instructions,
                    first.tools,
                    first.console + second.console,
                )
            if ended.code != 0 and "plugin" in ended.console:
                raise plugin.refused(ended.console)
            if ended.code != 0:
                raise wire.exit_failure(ended.code, ended.console, elf_file.read(elf))
            response = wire.decode(data, request, console=ended.console)
            counts: InstructionCounts | None = None
            if request.count is not None:
                counts = plugin.read_counts(folder, request.count, console=ended.console)
        tools = {"qemu": self._emulator.version}
        return RunResult(
            response.outputs, response.sample_bytes, response.stack_peak_bytes, counts, tools, ended.console
        )

    def _run_once(self, elf: Path, request: RunRequest, folder: Path) -> tuple[process.Ended, bytes]:
        command = [self._emulator.path, *self._machine_options(), *self._options]
        if request.count is not None:
            command += plugin.options(folder, request.count, self._emulator.version)
        encoded = wire.encode(request)
        if self._window is None:
            (folder / "request").write_bytes(encoded)
            command += ["-serial", "null", "-semihosting-config"]
            command += ["enable=on,target=native,arg=bench,arg=request,arg=response", "-kernel", str(elf.resolve())]
            ended = process.run(command, folder, request)
            response = folder / "response"
            return ended, response.read_bytes() if response.exists() else b""
        assert self._qemu.ram is not None  # the schema asks for both where there is a window
        assert self._qemu.ram_base is not None
        offset = self._window.base - self._qemu.ram_base
        ram = folder / "ram"
        _fill_window(ram, self._qemu.ram, offset, self._window.size, encoded)
        command += ["-object", f"memory-backend-file,id=ram0,size={self._qemu.ram},mem-path=ram,share=on"]
        command += ["-m", f"{self._qemu.ram}B", "-serial", "stdio", "-bios", "none", "-kernel", str(elf.resolve())]
        return process.run(command, folder, request), _read_window(ram, offset)

    def _machine_options(self) -> list[str]:
        machine = self._qemu.machine + (",memory-backend=ram0" if self._window else "")
        options = ["-machine", machine, "-display", "none", "-monitor", "none", "-no-reboot"]
        return options + (["-cpu", self._qemu.cpu] if self._qemu.cpu else [])


def _fill_window(ram: Path, ram_bytes: int, offset: int, window_bytes: int, request: bytes) -> None:
    """Make the file that becomes the guest's RAM: empty but for the window's header and the request, at an offset.

    Raises:
        UsageError: the request alone fills the window.
    """
    response_at = (_WINDOW.size + len(request) + 15) & ~15
    if response_at >= window_bytes:
        raise UsageError(
            "the inputs do not fit the target's memory window",
            got=f"{len(request)} bytes",
            expected=f"less than {window_bytes - _WINDOW.size} bytes",
            hints=("run fewer samples at once", "enlarge memory.window in the target's file"),
        )
    header = _WINDOW.pack(b"PDWN", len(request), response_at, window_bytes - response_at, 0, 0, 0, 0)
    with ram.open("wb") as stream:
        stream.truncate(ram_bytes)
        stream.seek(offset)
        stream.write(header + request)


def _read_window(ram: Path, offset: int) -> bytes:
    """The response that the guest left in the window at an offset of the file."""
    with ram.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        _, _, response_at, capacity, used, *_ = _WINDOW.unpack_from(memory, offset)
        start = offset + response_at
        return memory[start : start + min(used, capacity)]
