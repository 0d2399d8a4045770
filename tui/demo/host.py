"""The demo program as lamina's own child: started, read while it runs, taken over after a restore, reaped, and ended on leaving."""

import asyncio
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lamina.core.attach.procfs import PAGE


@dataclass(frozen=True)
class Cells:
    """What is in the program's memory at one moment.

    Attributes:
        step: how many steps it has taken; melted: how often it has begun again.
        columns: cells in a row.
        frozen: per cell the step in which it froze, 0 if it is empty.
        address: where the page of the first cell is.
    """

    step: int
    melted: int
    columns: int
    frozen: tuple[int, ...]
    address: int


class DemoProgram:
    """One demo program, also after restores."""

    def __init__(self, seed: int | None = None) -> None:
        """Start it. Raises OSError if it cannot be started."""
        self.images = Path(tempfile.mkdtemp(prefix="lamina-demo-"))
        command = ["crystal", "-ISE", "program.py", *([str(seed)] if seed is not None else [])]
        # In a session of its own, so that it is not a shell job and the terminal's Ctrl-C does not reach it.
        process = subprocess.Popen(
            command,
            executable=sys.executable,
            cwd=Path(__file__).parent,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout:
            words = process.stdout.readline().split()
        if len(words) != 4:
            process.kill()
            process.wait()
            shutil.rmtree(self.images)
            raise OSError(f"the demo program does not start: {' '.join(command)}")
        process.returncode = 0  # reaped here, by pidfd: Popen's own wait could swallow the stops of our tracer
        self._address, self._columns, self._rows = int(words[1], 16), int(words[2]), int(words[3])
        self.pid = process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._on_end: Callable[[], None] = lambda: None

    def watch(self, on_end: Callable[[], None]) -> None:
        """Reap it as soon as it ends, from the running event loop, and call *on_end*."""
        self._on_end = on_end
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def adopt(self, pid: int) -> None:
        """A restore has put it back as our child *pid*: use that from now on."""
        self._reap(block=False)
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self.watch(self._on_end)

    def read(self) -> Cells | None:
        """The cells now, read from its memory; None while there is no such process."""
        count = self._columns * self._rows
        try:
            with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(self._address)
                words = memoryview(memory.read(PAGE * (1 + count))).cast("Q")
        except OSError:
            return None
        if len(words) < (1 + count) * PAGE // 8:
            return None
        pages = words[:: PAGE // 8]
        return Cells(words[0], words[1], self._columns, tuple(pages[1:]), self._address + PAGE)

    def end(self) -> None:
        """End it, wait until it is gone, remove its images."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._reap(block=True)
        os.close(self._pidfd)
        shutil.rmtree(self.images, ignore_errors=True)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._reap(block=False)
        self._on_end()

    def _reap(self, block: bool) -> None:
        if block:
            select.select([self._pidfd], [], [], 5)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
