"""One-line files of /proc/PID that not every kernel has, read and written from outside."""

import os
from pathlib import Path

from lamina.core.errors import TargetError


def read(pid: int, name: str) -> str:
    """The text of /proc/PID/*name* without the end of its line; "" on a kernel without that file.

    Raises:
        TargetError: the process is gone or hidden.
    """
    try:
        return Path(f"/proc/{pid}/{name}").read_text().strip()
    except FileNotFoundError:
        if Path(f"/proc/{pid}").exists():
            return ""
        raise TargetError("no such process", str(pid)) from None
    except OSError as error:
        raise TargetError("cannot read", f"/proc/{pid}/{name}", str(error.strerror)) from error


def write(pid: int, name: str, text: str) -> str:
    """Write *text* into /proc/PID/*name*; "" or why that failed."""
    try:
        Path(f"/proc/{pid}/{name}").write_text(text)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""
