"""The screen that a layer keeps, in lamina-terminal.json, which is written with the layer. Called in worker threads."""

import os
from pathlib import Path

from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import NEW_FILE, cannot_write
from lamina.core.image.sidecar import TERMINAL_NAME

_LIMIT = 1 << 24


def read_screen(layer: Path) -> str:
    """What the program's terminal showed when *layer* was made; "" if that is not known.

    Raises:
        ImageError: there is no such layer, or it cannot be read.
    """
    found = Layer(layer)
    return found.read(TERMINAL_NAME, _LIMIT).decode(errors="replace") if found.has(TERMINAL_NAME) else ""


def write_screen(layer: Path, shown: str) -> None:
    """Add the screen to a layer that another process has just made.

    Raises:
        ImageError: it cannot be written.
    """
    draft = layer / f"{NEW_FILE}{TERMINAL_NAME}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(shown.encode())
            file.flush()
            os.fsync(fd)
        draft.rename(layer / TERMINAL_NAME)
    except OSError as error:
        raise cannot_write(layer, error.errno or 0) from error
