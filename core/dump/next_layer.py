"""The next layer of a stack: its number, its directory, and the request that dumps a process into it."""

import os
from pathlib import Path

from lamina.core.dump.request import DumpRequest
from lamina.core.errors import ImageError


def request_for(pid: int, layer: Path, parent: Path | None, shell_job: bool = False, last: bool = False) -> DumpRequest:
    """The dump of *pid* into *layer*.

    Args:
        parent: the layer *pid* stands on. One of another stack is no `../N`: then the layer is a full one.
        shell_job: as in `DumpRequest`.
        last: end the tree once the layer is committed.
    """
    inside = parent is not None and parent.parent.resolve() == layer.parent.resolve()
    return DumpRequest(
        pid=pid,
        images_dir=layer,
        prev_images_dir=relative_parent(layer, parent) if parent is not None and inside else None,
        leave_running=not last,
        track_mem=not last,
        shell_job=shell_job,
    )


def next_layer(stack: Path) -> Path:
    """The directory of the next layer: one more than the highest number in *stack*; not created here."""
    taken = [int(name) for name in _names(stack) if name.isdecimal()]
    return stack / str(max(taken, default=0) + 1)


def make_layer_dir(stack: Path) -> Path:
    """Create the next layer's directory, private as images must be.

    Raises:
        ImageError: the stack cannot be written, or is an archive.
    """
    if stack.is_file():
        raise ImageError("cannot dump", f"into {stack}", "it is a file, no directory of layers", f"lamina import {stack} DIR")
    try:
        stack.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = next_layer(stack)
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue  # another lamina took this number
            return path
    except OSError as error:
        from lamina.core.image.leftovers import cannot_write  # only now: the screen imports this room before it needs images

        raise cannot_write(stack, error.errno or 0) from error


def drop_if_empty(path: Path) -> None:
    """Take back a directory a failed dump left empty."""
    try:
        path.rmdir()
    except OSError:
        return  # it holds something: not ours to judge


def relative_parent(layer: Path, parent: Path) -> str:
    """What `--prev-images-dir` takes: *parent* as seen from *layer*, "../2"."""
    return os.path.relpath(parent, layer)


def _names(stack: Path) -> list[str]:
    try:
        return os.listdir(stack)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
