"""What settings of a thread have in common that CRIU's images have no field for: asked inside, kept in the supplement, set again.

Restore asks a new thread the same, because it has inherited lamina's own settings, and sets only what is not as it was.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value

Answer = Callable[[], Value | None]
"""After the run: the setting; None if this kernel or machine has none of that kind."""


class Setting(ABC):
    """One setting of a thread. Stateless: one instance stands in the table of `thread_settings.py`.

    Attributes:
        name: in the supplement (`image.supplement.THREAD_FIELDS`).
        what: in words, as in "I/O priority".
        default: what it is if nobody has set it; not kept.
    """

    name: str
    what: str
    default: Value

    @abstractmethod
    def ask(self, calls: CallList) -> Answer:
        """Append the calls that ask, to be run in the thread itself."""

    @abstractmethod
    def rebuild(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Append the call that sets it, in the thread itself. It may fail: `Setting.failed` says so to the user.

        *core*: the thread's record, for calls that set something beside.
        """

    def failed(self, tid: int, value: Value, result: int) -> str:
        """The sentence for a call that answered *result* < 0."""
        return f"thread {tid}: its {self.what} was {value or 'the default'} and cannot be set: {os.strerror(-result)}"


@dataclass(frozen=True)
class Wanted:
    """A call that sets something, and the sentence that is due if it fails."""

    call: Call
    sentence: Callable[[int], str]

    def said(self) -> str:
        """After the run: "" if it did."""
        return self.sentence(self.call.result) if -4095 <= self.call.result < 0 else ""


def said(wanted: Iterable[Wanted]) -> list[str]:
    """After the run: the sentences of those that failed."""
    return [sentence for each in wanted if (sentence := each.said())]


def list_of(mask: int) -> str:
    """A mask as the kernel's lists: 0b1011 → "0-1,3"."""
    parts = []
    bit = 0
    while mask >> bit:
        if mask >> bit & 1:
            first = bit
            while mask >> bit + 1 & 1:
                bit += 1
            parts.append(str(first) if first == bit else f"{first}-{bit}")
        bit += 1
    return ",".join(parts)


def mask_of(text: str) -> int:
    """The opposite. A range whose end lies before its start holds nothing."""
    mask = 0
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        mask |= ((1 << max(high + 1 - low, 0)) - 1) << low
    return mask
