"""Who a process is: a pid is reused, a pid with its start time and boot is not."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """The kernel's id of this boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@cache
def pid_namespace() -> int:
    """The inode of our pid namespace (pid_namespaces(7)): two of them count their processes alike, from 1 on."""
    return Path("/proc/self/ns/pid").stat().st_ino


@dataclass(frozen=True)
class Identity:
    """One process, for ever.

    Attributes:
        pid: process id in our pid namespace.
        start_time: field 22 of /proc/PID/stat, clock ticks since boot.
        boot: the boot it runs in.
    """

    pid: int
    start_time: int
    boot: str

    @property
    def key(self) -> str:
        """Short, safe for a file name, and another one in every pid namespace."""
        return f"{self.boot[:8]}-{pid_namespace()}-{self.pid}-{self.start_time}"


def identify(pid: int) -> Identity:
    """The identity of *pid*.

    Raises:
        TargetError: there is no such process.
    """
    from lamina.core.attach.procfs import read_stat

    return Identity(pid, read_stat(pid).start_time, boot_id())
