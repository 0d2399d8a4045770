"""Counts what a tracked process has written since its last layer, from its page map, without protecting pages. Called in worker threads."""

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import read_maps
from lamina.tui.model.dirty_pages import Dirty

if TYPE_CHECKING:
    from lamina.core.dirty.scan import Scanner

# Seconds of the past that are kept.
_HISTORY = 300


class DirtyReader:
    """Counts for one process, again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scanner: Scanner | None = None
        self._identity: Identity | None = None
        self._rates: deque[tuple[float, bool]] = deque(maxlen=_HISTORY)
        self._before = (0.0, 0)

    def read(self, identity: Identity) -> Dirty:
        """Count for *identity*.

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
                # Fewer than before: a dump has made counting begin anew.
                anew = pages < before
                self._rates.append(((pages if anew else pages - before) / (now - then), anew))
            self._before = (now, pages)
            return Dirty(identity, pages, tuple(rate for rate, _ in self._rates), tuple(anew for _, anew in self._rates))

    def close(self) -> None:
        """Let go of the page map."""
        if self._scanner is not None:
            self._scanner.close()
            self._scanner = None
