"""The wire of CRIU's page server, in both its forms, and what one lamina says to another on it (docs/page-server.md).

One stream of frames from the sender, few answers, no version and no checksum. criu up to 4.1.1 has frames of 24 bytes, criu 4.2 of 32.
A receiver knows the form by the first frame; a sender must be told.

What lamina adds fits where criu does not look: the first frame asks for the parent of an object, and criu reads no more of it than which
object. A sender that is lamina puts `HELLO` where the number of pages would be, and a receiver that is lamina answers with `GREETED`.
From then on pages may come in any order and again, both know which layer this is, and a refusal is said in words before the end.
"""

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from lamina.core.dirty.runs import PAGE
from lamina.core.errors import TransferError
from lamina.core.ffi import C
from lamina.core.image.layer import Object

FORMS = (C.LM_FRAME_24, C.LM_FRAME_32)
HELLO = 0x616D_616C
GREETED = 0x6C61_0000
"""Or'ed with 1 if there is a parent: criu never answers more than that."""
PAGES_ID = 0x10001
"""Of the first pages file of a receiver, as criu's: so both sides may share a directory."""
MAX_WORDS = 2000
_ANSWER = struct.Struct("<i")
_LENGTH = struct.Struct("<I")


class Command(IntEnum):
    """What a frame asks for. Those from 0x4c01 on are lamina's own."""

    ADD = C.LM_FRAME_ADD
    HOLE = C.LM_FRAME_HOLE
    OPEN = 3
    OPEN2 = 4
    PARENT = 5
    ADD_F = C.LM_FRAME_ADD_F
    GET = 7
    CLOSE = 0x1023
    FORCE_CLOSE = 0x1024
    LAYER = 0x4C01
    ASK = 0x4C02
    FORGET = C.LM_FRAME_FORGET


class Answer(IntEnum):
    """To CLOSE. `BUSY` is said by lamina to lamina, every second until it is done; `REFUSED` is followed by words."""

    DONE = 0
    BUSY = 1
    REFUSED = -1


@dataclass(frozen=True)
class Frame:
    """One frame; what a command does not use is 0."""

    cmd: int
    pages: int = 0
    vaddr: int = 0
    dst_id: int = 0

    def encode(self, form: int) -> bytes:
        """As bytes in one of `FORMS`.

        Raises:
            ValueError: it has more pages than the 24-byte form can say.
        """
        if form == C.LM_FRAME_24:
            if self.pages >> 32:
                raise ValueError(f"{self.pages} pages in a frame of 24 bytes")
            return struct.pack("<IIQQ", self.cmd, self.pages, self.vaddr, self.dst_id)
        return struct.pack("<IIQQQ", self.cmd, 0, self.pages, self.vaddr, self.dst_id)

    @classmethod
    def decode(cls, data: bytes, form: int) -> "Frame":
        """From as many bytes as *form* says."""
        if form == C.LM_FRAME_24:
            cmd, pages, vaddr, dst_id = struct.unpack("<IIQQ", data)
        else:
            cmd, pages, vaddr, dst_id = struct.unpack("<I4xQQQ", data)
        return cls(cmd, pages, vaddr, dst_id)


class Records:
    """How frames are cut into records of TLS: a frame alone, then its pages, four to a record.

    criu 4.1.1 moves what it decrypts through a pipe and waits for ever on pages that do not begin where a page of the pipe does.
    """

    def __init__(self, form: int) -> None:
        """Frames have *form* bytes."""
        self._form = form
        self._left = 0

    def __call__(self, waiting: bytes) -> int:
        """How many bytes of *waiting* the next record takes; 0: more must come first (`lamina.core.transfer.tls.Cut`)."""
        if not self._left:
            if len(waiting) < self._form:
                return 0
            frame = Frame.decode(waiting[: self._form], self._form)
            if frame.cmd & 0xFFFF == Command.ADD_F and frame.cmd >> 16 & C.LM_RUN_PRESENT:
                self._left = frame.pages * PAGE
            return self._form
        size = min(self._left, 4 * PAGE)
        if len(waiting) < size:
            return 0
        self._left -= size
        return size


# -- objects -------------------------------------------------------------------------------------------------------------------------

_TASK, _SHARED = 1, 2
# What criu before 3.11 wrote in their place: the numbers of its own list of images.
_OLD_TASK = frozenset({10, 11, 16, 17})
_OLD_SHARED = frozenset({27, 28, 29, 32, 33, 34})


def object_id(which: Object) -> int:
    """The `dst_id` of a task (its pid) or of "shmem-ID"."""
    return which << 8 | _TASK if isinstance(which, int) else int(which.removeprefix("shmem-")) << 8 | _SHARED


def object_of(dst_id: int) -> Object:
    """What a `dst_id` names.

    Raises:
        TransferError: it names nothing.
    """
    kind, number = dst_id & 0xFF, dst_id >> 8
    if (kind == _TASK or kind in _OLD_TASK) and 0 < number < 1 << 31:
        return number
    if (kind == _SHARED or kind in _OLD_SHARED) and number < 1 << 63:
        return f"shmem-{number}"
    raise TransferError("cannot receive", why=f"a wrong frame came: {dst_id:#x} is no object")


# -- answers -------------------------------------------------------------------------------------------------------------------------


def answer(value: int) -> bytes:
    """An answer of four bytes."""
    return _ANSWER.pack(value)


def read_answer(data: bytes) -> int:
    """The number in it."""
    return int(_ANSWER.unpack(data)[0])


def words(text: str) -> bytes:
    """A text, behind its length."""
    data = text.encode()[:MAX_WORDS]
    return _LENGTH.pack(len(data)) + data


def words_length(data: bytes) -> int:
    """How long the text is that follows.

    Raises:
        TransferError: longer than a text may be.
    """
    length = int(_LENGTH.unpack(data)[0])
    if length > MAX_WORDS:
        raise TransferError("cannot use the page server", why=f"a wrong answer came: a text of {length} bytes")
    return length


@dataclass(frozen=True)
class Home:
    """Where a receiver keeps its layer, so that the sender can look for itself if both are one machine.

    Attributes:
        boot: the boot id of its machine.
        path: the layer's directory.
    """

    boot: str
    path: str

    def encode(self) -> str:
        """As text."""
        return json.dumps({"boot": self.boot, "path": self.path})

    @classmethod
    def decode(cls, text: str) -> "Home":
        """From text; empty fields if it is none."""
        try:
            record: Any = json.loads(text)
            return cls(str(record["boot"]), str(record["path"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return cls("", "")


def token(layer_id: str) -> int:
    """What stands for a layer on the wire: the first 64 bits of its id; 0 for none."""
    try:
        return int(layer_id[:16], 16)
    except ValueError:
        return 0
