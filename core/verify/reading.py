"""Reading every byte of a layer: progress, rate and cancelling."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken, Listener, Progress, ignore
from lamina.core.image.storage.content import Content

_INTERVAL_NS = 1_000_000_000 // 50
_CHUNK = 1 << 20
_SHARE = 32 << 20


class Meter:
    """Counts bytes that were read, from several threads.

    Attributes:
        done: bytes so far.
    """

    def __init__(self, what: str, listener: Listener = ignore, cancel: CancelToken | None = None) -> None:
        """*what* names the work in the error of a cancel, as in "verify of S/2"."""
        self.done = 0
        self._what, self._listener, self._cancel = what, listener, cancel
        self._total = 0
        self._started = time.monotonic_ns()
        self._told = 0
        self._lock = threading.Lock()

    def expect(self, size: int) -> None:
        """Add *size* to the total."""
        self._total += size

    def step(self, size: int) -> None:
        """*size* more bytes were read.

        Raises:
            Cancelled: as asked.
        """
        if self._cancel:
            self._cancel.check(self._what)
        with self._lock:
            self.done += size
            now = time.monotonic_ns()
            if now - self._told < _INTERVAL_NS and self.done < self._total:
                return
            self._told = now
            event = Progress("verify", self.done // PAGE, self._total // PAGE, self.done, (now - self._started) // 1000)
        self._listener(event)


def read_through(content: Content, holes: PageRuns, meter: Meter) -> None:
    """Read a whole file that has no checksum, except its *holes*, to see that the disk can read it. A terabyte of holes takes no time.

    Raises:
        ImageError: it cannot be read.
    """

    def read(share: tuple[int, int]) -> None:
        start, end = share
        for at in range(start, end, _CHUNK):
            wanted = min(_CHUNK, end - at)
            got = content.pread(wanted, at)
            if len(got) != wanted:
                raise ImageError("truncated image", "", f"ends at offset {at + len(got)} of {content.size}")
            meter.step(len(got))

    meter.step(min(holes.bytes, content.size))
    whole = PageRuns.of([(0, -(-content.size // PAGE) * PAGE)]) if content.size else PageRuns.empty()
    shares = ((at, min(at + _SHARE, end, content.size)) for start, end in whole - holes for at in range(start, end, _SHARE))
    with ThreadPoolExecutor(2) as pool:
        try:
            for _ in pool.map(read, shares):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
