"""Which kinds of memory a core file of a process has: /proc/PID/coredump_filter (core(5)). Read and written from outside."""

from typing import Final

from lamina.core.objects import procfile

USUAL: Final = 0x33
"""What a kernel with CONFIG_CORE_DUMP_DEFAULT_ELF_HEADERS starts with; its boot line may say otherwise (coredump_filter=)."""
_FILE: Final = "coredump_filter"


def read(pid: int) -> int | None:
    """The bits; None on a kernel without core files.

    Raises:
        TargetError: the process is gone or hidden.
    """
    text = procfile.read(pid, _FILE)
    return int(text, 16) if text else None


def rebuild(wanted: int, pid: int) -> str:
    """From outside, any time after exec. "" or, if it cannot be set, a sentence."""
    if read(pid) in (wanted, None if wanted == USUAL else wanted):
        return ""
    failed = procfile.write(pid, _FILE, f"{wanted:#x}")
    return f"process {pid}: its core dump filter was {wanted:#x} and cannot be set: {failed}" if failed else ""
