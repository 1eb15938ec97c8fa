# SPDX-License-Identifier: Apache-2.0
"""Runs the bench on an emulated core.

Arm: the request and the response are files that the firmware opens by semihosting. RISC-V: they lie in a window of the
guest's RAM, which is a file of ours that QEMU maps; an RTL test bench loads and dumps the same addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plinio_deploy.errors import UsageError
from plinio_deploy.targets import elf as elf_file
from plinio_deploy.targets import toolchains
from plinio_deploy.targets.runners import plugin, process, window, wire
from plinio_deploy.targets.runners.base import CycleCounts, InstructionCounts, RunRequest, RunResult
from plinio_deploy.targets.schema import Qemu, Target


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
        self._model = plugin.model(target)
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
                return first.followed_by(self.run(elf, request.part(middle, request.samples)))
            if ended.code != 0 and "plugin" in ended.console:
                raise plugin.refused(ended.console)
            if ended.code != 0:
                raise wire.exit_failure(ended.code, ended.console, elf_file.read(elf))
            response = wire.decode(data, request, console=ended.console)
            counts: InstructionCounts | None = None
            cycles: CycleCounts | None = None
            if request.count is not None:
                counts, cycles = plugin.read_counts(folder, request.count, self._model, console=ended.console)
        tools = {"qemu": self._emulator.version}
        peak = response.stack_peak_bytes
        return RunResult(response.outputs, response.sample_bytes, peak, counts, tools, ended.console, cycles)

    def _run_once(self, elf: Path, request: RunRequest, folder: Path) -> tuple[process.Ended, bytes]:
        command = [self._emulator.path, *self._machine_options(), *self._options]
        if request.count is not None:
            command += plugin.options(folder, request.count, self._emulator.version, self._model)
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
        window.fill(ram, self._qemu.ram, offset, self._window.size, encoded)
        command += ["-object", f"memory-backend-file,id=ram0,size={self._qemu.ram},mem-path=ram,share=on"]
        command += ["-m", f"{self._qemu.ram}B", "-serial", "stdio", "-bios", "none", "-kernel", str(elf.resolve())]
        return process.run(command, folder, request), window.read(ram, offset)

    def _machine_options(self) -> list[str]:
        machine = self._qemu.machine + (",memory-backend=ram0" if self._window else "")
        options = ["-machine", machine, "-display", "none", "-monitor", "none", "-no-reboot"]
        return options + (["-cpu", self._qemu.cpu] if self._qemu.cpu else [])
