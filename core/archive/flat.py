"""A layer as if its dump had been a full one: all pages of its chain in its own pages files."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from typing_extensions import override

from lamina.core.archive.entries import Entry, entries_of
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.layer import Layer, Object
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.storage.content import Content
from lamina.core.image.sums import FileSum


class ResolvedContent(Content):
    """The pages file that a full dump would have: the pages of one object in address order, each read from its owner."""

    fd = None

    def __init__(self, owned: owners.OwnerMap) -> None:
        """Open the owners of what *owned* resolves.

        Raises:
            ImageError: one of them cannot be read.
        """
        pieces = owned.pieces.data
        self._held = ExitStack()
        self._files = {
            owner: self._held.enter_context(owned.chain[owner].open_pages(owned.which)) for owner in np.unique(pieces.owners).tolist()
        }
        self._pieces = pieces
        self._sizes = pieces.ends - pieces.starts
        self._at = np.cumsum(self._sizes, dtype=np.uint64) - self._sizes
        self.size = int(self._sizes.sum())

    @override
    def pread(self, size: int, offset: int) -> bytes:
        end = min(offset + size, self.size)
        parts: list[bytes] = []
        index = int(np.searchsorted(self._at, np.uint64(offset), side="right")) - 1
        while offset < end:
            skip = offset - int(self._at[index])
            length = min(int(self._sizes[index]) - skip, end - offset)
            part = self._files[int(self._pieces.owners[index])].pread(length, int(self._pieces.offsets[index]) + skip)
            if len(part) != length:
                raise ImageError("truncated image", "", "a pages file became shorter while it was read")
            parts.append(part)
            offset += length
            index += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @override
    def close(self) -> None:
        self._held.close()


class _Bytes(Content):
    fd = None

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def pread(self, size: int, offset: int) -> bytes:
        return self._data[offset : offset + size]

    def close(self) -> None:
        pass


def flat_entries(layer: Layer) -> Iterator[Entry]:
    """As `entries_of`, with maps that inherit nothing and pages files that hold everything.

    Raises:
        ImageError: a page of it is owned by nobody, or was punched.
    """
    memory = {f"pagemap-{which}.img": which for which in layer.objects}
    pages = {layer.pages_name(which): which for which in layer.objects}
    seen: set[str] = set()
    for entry in entries_of(layer):
        if (which := memory.get(entry.name)) is not None:
            data = _full_map(layer, which).encode()
            yield replace(entry, size=len(data), open=lambda data=data: _Bytes(data))  # type: ignore[misc]
        elif (which := pages.get(entry.name)) is not None:
            seen.add(entry.name)
            yield _resolved(layer, which, entry)
        else:
            yield entry
    for name, which in pages.items():
        if name not in seen:  # a layer that inherits everything may have no pages file
            yield _resolved(layer, which, Entry(name, 0, 0o600, 0.0, lambda: _Bytes(b"")))


def flat_sidecar(sidecar: Sidecar, made: Mapping[str, FileSum]) -> Sidecar:
    """What the sidecar says once nothing is inherited; *made* are the checksums of the maps and pages written for it."""
    kept = {name: it for name, it in sidecar.checksums.items() if not name.startswith(("pagemap-", "pages-"))}
    whole = {**kept, **made} if sidecar.checksums else {}
    return replace(sidecar, parent_id=None, punched={}, punched_by=(), restorable=True, why_not="", checksums=whole)


def _resolved(layer: Layer, which: Object, entry: Entry) -> Entry:
    owned = owners.resolve(layer.chain(), which)
    return replace(entry, size=owned.runs.bytes, open=lambda: ResolvedContent(owned))


def _full_map(layer: Layer, which: Object) -> PageMap:
    owned = owners.resolve(layer.chain(), which)
    lost = owned.punched.pages + sum(runs.pages for _, runs in owned.missing)
    if lost:
        raise ImageError("cannot export", str(layer.file(f"pagemap-{which}.img")), f"{lost} of its pages are nowhere")
    return PageMap.of(layer.pagemap(which).pages_id, owned.runs, PageRuns.empty())
