"""The log: what the engine and the screen have told the user, with levels. The newest entries are kept; older ones are only counted."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from lamina.core.errors import in_one_line

KEEP = 5000


class Level(IntEnum):
    """How much an entry matters."""

    DEBUG = 0
    INFO = 1
    NOTICE = 2
    WARNING = 3
    ERROR = 4

    @property
    def word(self) -> str:
        """ "error", "warning", "notice", "info", "debug"."""
        return self.name.lower()


@dataclass(frozen=True)
class Entry:
    """One line of the log.

    Attributes:
        number: counts from 1 and is never reused, so that it identifies the entry when older ones are gone.
        time: seconds since the epoch.
        level: how much it matters.
        about: the operation or the thing it is about, as in "dump of redis-server 4711"; may be "".
        text: what was said, on one line.
    """

    number: int
    time: float
    level: Level
    about: str
    text: str

    @property
    def clock(self) -> str:
        """ "14:07:52.318"."""
        return f"{time.strftime('%H:%M:%S', time.localtime(self.time))}.{int(self.time % 1 * 1000):03}"

    @cached_property
    def said(self) -> str:
        """What it is about and its text, as one sentence. Searches go through this."""
        return f"{self.about}: {self.text}" if self.about and not self.text.startswith(self.about) else self.text

    @property
    def line(self) -> str:
        """As it is saved: "2026-11-23 14:07:52.318 error   dump of redis-server 4711: …"."""
        return f"{time.strftime('%Y-%m-%d', time.localtime(self.time))} {self.clock} {self.level.word:7} {self.said}"

    def has(self, needle: str) -> bool:
        """Whether *needle* is in it, in upper or lower case."""
        return needle.casefold() in self.said.casefold()


class Log:
    """The newest `KEEP` entries."""

    def __init__(self, keep: int = KEEP) -> None:
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._count = 0

    def add(self, level: Level, text: str, about: str = "") -> Entry:
        """Add an entry."""
        self._count += 1
        entry = Entry(self._count, time.time(), level, about, in_one_line(text))
        self._entries.append(entry)
        return entry

    @property
    def gone(self) -> int:
        """How many older entries are no longer kept."""
        return self._count - len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Oldest first."""
        return iter(self._entries)

    def from_level(self, level: Level) -> list[Entry]:
        """The entries of *level* and above, oldest first."""
        return [entry for entry in self._entries if entry.level >= level]
