"""When the next layer is due: every so many seconds, once so much memory is dirtied, or whichever comes first.

`Rhythm` is what was asked for. `Timed` keeps count of one run and decides; it is told of time and never looks at a clock, so the command
line, which waits, and the screen, which may not, share it.
"""

from dataclasses import dataclass
from typing import Final

# So many failures one after the other end a run; the first ones may have been a full disk or a thread storm that passes.
FAILURES: Final = 3
# At least so long after a failure, and after finding the target busy.
PAUSE_S: Final = 5.0
BUSY_S: Final = 1.0


@dataclass(frozen=True)
class Rhythm:
    """What was asked for; at least one of the first two.

    Attributes:
        every_s: a layer every so many seconds.
        dirtied: a layer once so many bytes were written since the last one.
        keep_last: of the layers this run takes only the newest so many stay; None keeps all.
    """

    every_s: float | None = None
    dirtied: int | None = None
    keep_last: int | None = None


@dataclass(frozen=True)
class Due:
    """It is time.

    Attributes:
        why: in words, as in "30 s went by".
        beat: when it was due, on the clock of the caller.
        skip: no layer is taken, because nothing was written.
    """

    why: str
    beat: float
    skip: bool = False


class Timed:
    """One run of timed layers.

    Attributes:
        rhythm: what was asked for.
        layers: how many were taken.
        skipped: how many times no layer was taken although it was time.
        failures: how many failed since the last that was taken.
    """

    def __init__(self, rhythm: Rhythm, now: float) -> None:
        """The first layer is due at once. *now*: seconds on any clock that only goes forward."""
        self.rhythm = rhythm
        self.layers = self.skipped = self.failures = 0
        self._first = True
        self._told = False
        self._beat = self._not_before = now

    def left(self, now: float) -> float | None:
        """Seconds until the next beat; None if only what is written decides."""
        return None if self.rhythm.every_s is None else max(0.0, max(self._beat, self._not_before) - now)

    def due(self, now: float, dirty: int | None) -> Due | None:
        """Whether it is time.

        Args:
            now: the time.
            dirty: bytes written since the last layer; None if that is not known, as before the first one.
        """
        every, room = self.rhythm.every_s, self.rhythm.dirtied
        if now < self._not_before:
            return None
        if self._first:
            return Due("the first one", now)
        if room is not None and dirty is not None and dirty >= room:
            return Due(f"{in_bytes(dirty)} dirtied", now)
        if every is not None and now >= self._beat:
            return Due(f"{in_seconds(every)} went by", self._beat, skip=dirty == 0)
        return None

    def taken(self, due: Due, now: float) -> None:
        """The layer was taken, and is safe since *now*."""
        self.layers += 1
        self.failures = 0
        self._first = self._told = False
        self._wait(due.beat, now)

    def skip(self, due: Due, now: float, busy: bool = False) -> bool:
        """No layer this time, as nothing was written or, if *busy*, somebody else works on the target. True for the first of several."""
        self.skipped += 1
        news, self._told = not self._told, True
        self._wait(due.beat, now)
        if busy:
            self._not_before = now + BUSY_S
        return news

    def failed(self, due: Due, now: float) -> bool:
        """The dump failed; True if that was once too often: the very first must not, as then something is wrong with what was asked for."""
        self.failures += 1
        self._wait(due.beat, now)
        self._not_before = now + PAUSE_S
        return self._first or self.failures >= FAILURES

    def _wait(self, beat: float, now: float) -> None:
        """Beats that passed meanwhile are left out: the target shall not be dumped without a pause."""
        every = self.rhythm.every_s
        if every is not None:
            self._beat = beat + every
            if self._beat <= now:
                self._beat = now + every - (now - beat) % every


def describe(rhythm: Rhythm) -> str:
    """ "every 30 s", "every 64 MiB dirtied", "every 30 s or 64 MiB dirtied"."""
    parts = [in_seconds(rhythm.every_s)] if rhythm.every_s is not None else []
    if rhythm.dirtied is not None:
        parts.append(f"{in_bytes(rhythm.dirtied)} dirtied")
    return "every " + " or ".join(parts)


def in_seconds(seconds: float) -> str:
    """ "30 s", "5 min", "2 h", "1 d": in the largest unit that fits whole."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"


def in_bytes(size: int) -> str:
    """ "64 MiB", "8.16 MiB", "2 GiB", "512 KiB": three digits."""
    value, unit = size / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if value >= 1024:
            value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
