"""What settings of a thread have in common that CRIU's images have no field for: asked inside, kept in the supplement, set again.

Restore asks a new thread the same, because it has inherited lamina's own settings, and sets only what is not as it was.
"""

import os
from abc import abstractmethod
from collections.abc import Iterable

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value, Values
from lamina.core.objects.attempt import Attempt
from lamina.core.objects.task_kind import Answer, Asking, Stage, ThreadKind, ThreadRecord


class Setting(ThreadKind[Value | None]):
    """One setting of a thread; None if this kernel or machine has none of that kind.

    Attributes:
        name: in the supplement (`image.supplement.THREAD_FIELDS`).
        what: in words, as in "I/O priority".
        default: what it is if nobody has set it; not kept.
    """

    stage = Stage.SETTINGS
    compared = True
    what: str
    default: Value

    @abstractmethod
    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Append the calls that ask, to be run in the thread itself."""

    def supplement(self, value: Value | None) -> Values:
        """What is not the default."""
        return {} if value is None or value == self.default else {self.name: value}

    @abstractmethod
    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Append the call that sets it, in the thread itself. It may fail: `failed` says so to the user.

        *core*: the thread's record, for calls that set something beside.
        """

    def rebuild(self, record: ThreadRecord, calls: CallList) -> Iterable[Attempt]:
        """Only what is not as it was. What this machine does not know is lost only if it was set."""
        value, now = record.kept.get(self.name, self.default), record.answers[self.name]()
        if now == value or (now is None and self.name not in record.kept):
            return ()
        call = self.set(value, record.core.thread_core, calls)
        return [Attempt(call, lambda result: self.failed(record.tid, value, result))]

    def failed(self, tid: int, value: Value, result: int) -> str:
        """The sentence for a call that answered *result* < 0."""
        return f"thread {tid}: its {self.what} was {value or 'the default'} and cannot be set: {os.strerror(-result)}"


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
