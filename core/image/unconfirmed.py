"""A layer whose pages were sent to a page server that has not confirmed them: it is committed if they arrived, else removed.

Everything but inventory.img is in directory by then, and the draft holds a record of where the pages went (`NAME`). If the sender or the
connection dies before the answer, only the receiver knows. On the same machine its directory shows it; else it is asked on the next
connection (`lamina.core.transfer.sender`).
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lamina.core.errors import ImageError
from lamina.core.image import lock
from lamina.core.image.sidecar import Sidecar

NAME = ".awaiting"
_MOST = 1 << 16


@dataclass(frozen=True)
class Unconfirmed:
    """Where the pages of a layer went.

    Attributes:
        address: of the page server, as "10.0.0.2:9999".
        token: what stands for the layer on the wire (`lamina.core.transfer.wire.token`), 16 hexadecimal digits.
        boot: the boot id of the receiver's machine, "" if not known.
        path: the layer's directory there, "" if not known.
    """

    address: str
    token: str
    boot: str = ""
    path: str = ""

    def encode(self) -> bytes:
        """As the bytes of its file."""
        return json.dumps(asdict(self)).encode()

    @property
    def why(self) -> str:
        """What to tell users about such a layer."""
        there = f", into {self.path}" if self.path else ""
        return f"it was sent to {self.address}{there}, and whether it arrived there whole is not known yet"

    def arrived(self) -> bool | None:
        """Whether the receiver has the whole layer, if that can be seen from here."""
        if not self.boot or self.boot != _this_boot() or not Path(self.path).is_dir():
            return None
        directory = Path(self.path)
        if not (directory / "inventory.img").exists():
            return None if _is_written(directory / ".lamina-draft") else False
        try:
            sidecar = Sidecar.load(directory)
        except ImageError:
            return None
        return sidecar is not None and sidecar.layer_id[:16] == self.token


def _is_written(draft: Path) -> bool:
    """Whether a receiver that lives is at it."""
    try:
        fd = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not lock.take(fd)
    except OSError:
        return True
    finally:
        os.close(fd)


def _this_boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_from(draft_fd: int) -> Unconfirmed | None:
    """The record in an open draft directory; None if there is none that can be read."""
    try:
        fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=draft_fd)
        with os.fdopen(fd, "rb") as file:
            record: Any = json.loads(file.read(_MOST))
        return Unconfirmed(*(str(record[name]) for name in ("address", "token", "boot", "path")))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def unconfirmed_in(images_dir: Path) -> Unconfirmed | None:
    """The record of the layer that is to be in *images_dir*, or None if there is no such layer."""
    try:
        fd = os.open(images_dir / ".lamina-draft", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return read_from(fd)
    finally:
        os.close(fd)
