"""Settings that prctl(2) gives as one int at an address: asked by several kinds."""

import struct
from collections.abc import Callable

from lamina.core.attach.calls import CallList


def ask_int(calls: CallList, option: int, about: str) -> Callable[[], int]:
    """Append `prctl(option, &int)`. What it wrote, after the run."""
    room = calls.room(4)
    calls.add("prctl", option, room, 0, 0, 0, expect=0, about=about)
    return lambda: int(struct.unpack("<i", calls.output(room, 4))[0])
