"""Reads a whole file that has no checksum, to see that the disk can read it."""

from concurrent.futures import ThreadPoolExecutor

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import Meter
from lamina.core.image.storage.content import Content

_CHUNK = 1 << 20
_SHARE = 32 << 20


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
