"""How much the target has written since the layer it stands on: a look at its page map that protects nothing. Called in worker threads."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import PAGE, read_maps

if TYPE_CHECKING:
    from lamina.core.dirty.scan import Scanner

_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 24


@dataclass(frozen=True)
class Dirty:
    """One look at a tracked process.

    Attributes:
        identity: whose memory.
        pages: pages with data written since tracking last began anew.
        per_second: newly dirty pages per second, oldest first.
    """

    identity: Identity
    pages: int
    per_second: tuple[float, ...] = ()

    @property
    def bytes(self) -> int:
        """What a dump now would write."""
        return self.pages * PAGE

    @property
    def graph(self) -> str:
        """`per_second` as bars, the highest full."""
        top = max(self.per_second, default=0.0)
        return "".join(_BARS[round(value / top * (len(_BARS) - 1))] if top else _BARS[0] for value in self.per_second)


class DirtyReader:
    """Looks at one process again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scanner: Scanner | None = None
        self._identity: Identity | None = None
        self._rates: deque[float] = deque(maxlen=_HISTORY)
        self._before = (0.0, 0)

    def read(self, identity: Identity) -> Dirty:
        """Look at *identity*.

        Raises:
            LaminaError: it is gone, or may not be read.
        """
        from lamina.core.dirty.scan import Scanner

        with self._lock:
            if self._scanner is None or self._identity != identity:
                self.close()
                self._scanner, self._identity = Scanner(identity), identity
                self._rates.clear()
                self._before = (0.0, 0)
            pages = self._scanner.scan(read_maps(identity.pid), protect=False, live=True).changed.pages
            now, (then, before) = time.monotonic(), self._before
            if then:
                # Fewer than before: a dump began to count anew.
                self._rates.append((pages - before if pages >= before else pages) / (now - then))
            self._before = (now, pages)
            return Dirty(identity, pages, tuple(self._rates))

    def close(self) -> None:
        """Let go of the page map."""
        if self._scanner is not None:
            self._scanner.close()
            self._scanner = None
