"""The victim `steady.c`, which notices if anybody disturbs it, as the tests see it."""

import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Steady:
    """The victim and what it counted."""

    process: subprocess.Popen[bytes]
    file: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def counts(self) -> tuple[int, ...]:
        """Sleeps, bad sleeps, rounds, bad rounds, handlers run."""
        return struct.unpack("5Q", self.file.read_bytes()[:40])

    def goes_on(self) -> None:
        """Both threads make progress and noticed nothing."""
        sleeps, _, rounds, _, _ = self.counts()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            now = self.counts()
            if now[0] > sleeps + 2 and now[2] > rounds + 100:
                assert (now[1], now[3], now[4]) == (0, 0, 0)
                return
            assert self.process.poll() is None
        raise AssertionError(f"no progress: {self.counts()}")

    def status(self) -> list[str]:
        """Masks, handlers and tracer of every thread."""
        keep = ("SigPnd", "SigBlk", "SigIgn", "SigCgt", "TracerPid", "ShdPnd")
        lines = []
        for tid in sorted(os.listdir(f"/proc/{self.pid}/task")):
            text = Path(f"/proc/{self.pid}/task/{tid}/status").read_text()
            lines += [f"{tid} {line}" for line in text.splitlines() if line.startswith(keep)]
        return lines

    def maps(self) -> str:
        return Path(f"/proc/{self.pid}/maps").read_text()
