"""Paths: the stack directory of a process, free space, and paths as people type and read them."""

import os
import re
import shutil
from pathlib import Path

from lamina.core.attach.identity import Identity


def stacks_root() -> Path:
    """The directory of all stacks: LAMINA_STACKS, which `run_app` sets if it is configured, or one in the XDG state directory."""
    from platformdirs import user_state_path

    named = os.environ.get("LAMINA_STACKS", "")
    return Path(named) if named.startswith("/") else user_state_path("lamina") / "stacks"


def default_stack(name: str, identity: Identity) -> Path:
    """The stack of a process if no directory is given, from name, pid and start time, so that a reused pid has its own.

    *name* is what the process calls itself and may contain anything but NUL. Only letters, digits, "." "_" "-" are kept.
    """
    safe = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".") or "program"
    return stacks_root() / f"{safe}-{identity.pid}-{identity.start_time}"


# Path's own methods raise if a name is too long or a directory may not be searched, and people may type anything.


def typed_path(line: str) -> Path:
    """The path that a person typed, with `~` and `~name` as in a shell; an unknown name is left as it is."""
    return Path(os.path.expanduser(line.strip()))  # noqa: PTH111


def is_there(path: Path) -> bool:
    """Whether there is anything at *path*; False if we may not know."""
    return os.path.exists(path)  # noqa: PTH110


def is_directory(path: Path) -> bool:
    """Whether there is a directory at *path*; False if we may not know."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Whether there is a file at *path*; False if we may not know."""
    return os.path.isfile(path)  # noqa: PTH113


def free_bytes(path: Path) -> int:
    """Space left for this user on the file system of *path* or of its nearest existing ancestor."""
    for place in (path, *path.parents):
        if is_there(place):
            return shutil.disk_usage(place).free
    return 0


def short_path(path: Path, width: int) -> str:
    """*path* in at most *width* cells: with "~" for the home directory, then without the folders in the middle."""
    home = Path.home()
    text = f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)
    if len(text) <= width:
        return text
    tail = f"…/{path.name}"
    return tail if len(tail) <= width else path.name[: width - 1] + "…"


def short_line(command: str) -> str:
    """A command line for little room, with only the last two names of long absolute paths. The jobs screen shows all of it."""
    return " ".join(_tail(word) if word.startswith("/") and len(word) > 28 else word for word in command.split(" "))


def _tail(path: str) -> str:
    return "…/" + "/".join(path.rsplit("/", 2)[1:])
