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
# Seconds of the past that are kept, and shown as text.
_HISTORY = 300
_SHOWN = 24


@dataclass(frozen=True)
class Dirty:
    """One look at a tracked process.

    Attributes:
        identity: whose memory.
        pages: pages with data written since tracking last began anew.
        per_second: newly dirty pages per second, oldest first.
        anew: for each of these whether counting began anew meanwhile, which a dump does.
    """

    identity: Identity
    pages: int
    per_second: tuple[float, ...] = ()
    anew: tuple[bool, ...] = ()

    @property
    def bytes(self) -> int:
        """What a dump now would write."""
        return self.pages * PAGE

    @property
    def graph(self) -> str:
        """The newest of `per_second` as bars, the highest full."""
        shown = self.per_second[-_SHOWN:]
        top = max(shown, default=0.0)
        return "".join(_BARS[round(value / top * (len(_BARS) - 1))] if top else _BARS[0] for value in shown)


class DirtyReader:
    """Looks at one process again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scanner: Scanner | None = None
        self._identity: Identity | None = None
        self._rates: deque[tuple[float, bool]] = deque(maxlen=_HISTORY)
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
                anew = pages < before
                self._rates.append(((pages if anew else pages - before) / (now - then), anew))
            self._before = (now, pages)
            return Dirty(identity, pages, tuple(rate for rate, _ in self._rates), tuple(anew for _, anew in self._rates))

    def close(self) -> None:
        """Let go of the page map."""
        if self._scanner is not None:
            self._scanner.close()
            self._scanner = None
