"""Settings that prctl(2) gives as one int at an address: asked by several kinds."""

import struct
from dataclasses import dataclass

from lamina.core.attach.calls import CallList, DataRef


@dataclass(frozen=True)
class IntQuestion:
    """The call that asks; `answer` after the run."""

    calls: CallList
    room: DataRef

    def answer(self) -> int:
        """What it wrote."""
        return int(struct.unpack("<i", self.calls.output(self.room, 4))[0])


def ask_int(calls: CallList, option: int, about: str) -> IntQuestion:
    """Append `prctl(option, &int)`."""
    room = calls.room(4)
    calls.add("prctl", option, room, 0, 0, 0, expect=0, about=about)
    return IntQuestion(calls, room)
