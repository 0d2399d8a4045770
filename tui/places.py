"""Where layers go: the stack directory of a process, the name of the next layer, the space that is left."""

import os
import re
import shutil
from pathlib import Path

from lamina.core.attach.identity import Identity


def stacks_root() -> Path:
    """The XDG state directory's place for stacks; not created here."""
    from platformdirs import user_state_path

    return user_state_path("lamina") / "stacks"


def default_stack(name: str, identity: Identity) -> Path:
    """The stack of a process nobody named a directory for: name, pid and start time, so that a reused pid has its own.

    *name* is what the process calls itself and may hold anything but NUL: only letters, digits, "." "_" "-" are kept.
    """
    safe = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".") or "program"
    return stacks_root() / f"{safe}-{identity.pid}-{identity.start_time}"


def next_layer(stack: Path) -> Path:
    """The directory of the next layer: one more than the highest number in *stack*; not created here."""
    taken = [int(name) for name in _names(stack) if name.isdecimal()]
    return stack / str(max(taken, default=0) + 1)


def make_layer_dir(stack: Path) -> Path:
    """Create the next layer's directory, private as images must be.

    Raises:
        OSError: the stack cannot be written.
    """
    stack.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = next_layer(stack)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue  # another lamina took this number
        return path


def drop_if_empty(path: Path) -> None:
    """Take back a directory a failed dump left empty."""
    try:
        path.rmdir()
    except OSError:
        return  # it holds something: not ours to judge


def relative_parent(layer: Path, parent: Path) -> str:
    """What `--prev-images-dir` takes: *parent* as seen from *layer*, "../2"."""
    return os.path.relpath(parent, layer)


def free_bytes(path: Path) -> int:
    """Space left for this user on the file system of *path* or of its nearest existing ancestor."""
    for place in (path, *path.parents):
        if place.exists():
            return shutil.disk_usage(place).free
    return 0


def short_path(path: Path, width: int) -> str:
    """*path* in at most *width* cells: "~" for the home directory, then the middle folders left out."""
    home = Path.home()
    text = f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)
    if len(text) <= width:
        return text
    tail = f"…/{path.name}"
    return tail if len(tail) <= width else "…" + path.name[-(width - 1) :]


def short_line(command: str) -> str:
    """A command line for a narrow place: of long absolute paths only the last two names. The jobs screen has it whole."""
    return " ".join(_tail(word) if word.startswith("/") and len(word) > 28 else word for word in command.split(" "))


def _tail(path: str) -> str:
    return "…/" + "/".join(path.rsplit("/", 2)[1:])


def _names(stack: Path) -> list[str]:
    try:
        return os.listdir(stack)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
