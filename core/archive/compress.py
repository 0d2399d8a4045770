"""Compresses the pages files of a layer in place (zstd), and expands them to exactly the same bytes.

The compressed file is written beside the old one as `.lamina-new.NAME`, read back and compared, renamed to pages-1.img.zst, and then
pages-1.img is removed. One of the two is complete at any moment. While both exist, the plain one counts, and the next compress or expand
continues from there.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from lamina.core.archive.compress_plan import (
    CompressedFile,
    CompressResult,
    directory_of,
    packed_files,
    plain_files,
    refuse_full,
    unwritten,
)
from lamina.core.archive.entries import Checked
from lamina.core.archive.progress import Work
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken, Listener, ignore
from lamina.core.image import lock
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import NEW_FILE, sweep_whole_stack
from lamina.core.image.renames import sync_directory
from lamina.core.image.storage.compressed import CompressedContent, Original
from lamina.core.image.storage.content import Content, PlainContent
from lamina.core.image.storage.directory import COMPRESSED
from lamina.core.image.storage.seekable import FrameWriter
from lamina.core.image.sums import BLOCK


def compress(layer: Layer, listener: Listener = ignore, cancel: CancelToken | None = None) -> CompressResult:
    """Compress the pages files of *layer*. Files that would not get smaller stay.

    Raises:
        BusyError: another process writes to the stack.
        ImageError: it is in an archive, damaged, or the disk is full. What was not finished is as before.
        Cancelled: what was not finished is as before.
    """
    directory = directory_of(layer, "cannot compress")
    with _work(directory, "compress", listener, cancel) as work:
        names = plain_files(directory)
        work.total = 2 * sum(os.lstat(directory / name).st_size for name in names)  # written, then read back
        done: list[CompressedFile] = []
        kept: list[str] = []
        for name in names:
            work.on_cancel = f"cancelled; {len(done)} of {len(names)} pages files are compressed"
            compressed = _compress_file(layer, directory, name, work)
            if compressed is None:
                kept.append(name)
            else:
                done.append(compressed)
        return CompressResult(directory, tuple(done), tuple(kept), work.elapsed_us)


def expand(layer: Layer, listener: Listener = ignore, cancel: CancelToken | None = None) -> CompressResult:
    """Expand the pages files of *layer*: the same bytes, holes, mode and time of change as before. Raises as `compress`."""
    directory = directory_of(layer, "cannot expand")
    with _work(directory, "expand", listener, cancel) as work:
        names = packed_files(directory)
        need = 0
        for name in names:
            with CompressedContent(directory / name) as content:
                work.total += 2 * content.size
                need += content.size - content.original.holes.bytes
        refuse_full(directory, need)
        done: list[CompressedFile] = []
        for name in names:
            work.on_cancel = f"cancelled; {len(done)} of {len(names)} pages files are expanded"
            done.append(_expand_file(layer, directory, name, work))
        return CompressResult(directory, tuple(done), (), work.elapsed_us)


@contextmanager
def _work(directory: Path, verb: str, listener: Listener, cancel: CancelToken | None) -> Iterator[Work]:
    with lock.locked(lock.stack_of(directory)):
        sweep_whole_stack(directory)
        try:
            yield Work(verb, f"layer {directory}", listener, cancel)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ImageError(f"cannot {verb}", f"layer {directory}", why.lower(), "what was not finished is as before") from error


# -- one file ------------------------------------------------------------------------------------------------------------------------


def _compress_file(layer: Layer, directory: Path, name: str, work: Work) -> CompressedFile | None:
    """None if it would not get smaller."""
    path, packed = directory / name, directory / (name + COMPRESSED)
    with PlainContent(path) as content, _new_file(packed, before := os.lstat(path)) as fd:
        original = Original(content.size, stat.S_IMODE(before.st_mode), before.st_mtime_ns, unwritten(content))
        sums: list[int] = []
        check = Checked(layer, path.name, content.size)
        with FrameWriter(lambda data: _write(fd, data)) as frames:
            frames.add_skippable(original.to_frame())
            for at in range(0, content.size, BLOCK):
                data = content.pread(BLOCK, at)
                sums.append(check.block(data, at))
                frames.add(data)
                work.step(len(data))
            _write(fd, frames.finish().to_bytes())
        os.fsync(fd)
        after = os.fstat(fd).st_blocks * 512
        if after >= before.st_blocks * 512:
            return None
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # what is compared is what the disk has
        with CompressedContent(_new_name(packed)) as again:
            _read_back(again, sums, path, work)
        now = os.lstat(path)
        if (now.st_ino, now.st_size, now.st_ctime_ns) != (before.st_ino, before.st_size, before.st_ctime_ns):
            raise ImageError("cannot compress", str(path), "it was changed meanwhile")
        _publish(packed, path)
    # Blocks of a file that has another name, too, stay where they are.
    return CompressedFile(name, original.size, before.st_blocks * 512 if before.st_nlink == 1 else 0, after)


def _expand_file(layer: Layer, directory: Path, name: str, work: Work) -> CompressedFile:
    packed, path = directory / name, directory / name.removesuffix(COMPRESSED)
    like = os.lstat(packed)
    if os.path.lexists(path):
        # Cut short between the two: the plain file is whole, whichever way it went.
        found = os.lstat(path)
        packed.unlink()
        sync_directory(directory)
        return CompressedFile(path.name, found.st_size, found.st_blocks * 512 + like.st_blocks * 512, found.st_blocks * 512)
    with CompressedContent(packed) as content, _new_file(path, like) as fd:
        original = content.original
        sums: list[int] = []
        check = Checked(layer, path.name, original.size)
        os.ftruncate(fd, original.size)
        for at in range(0, original.size, BLOCK):
            data = content.pread(BLOCK, at)
            sums.append(check.block(data, at))
            for low, high in _written(original.holes, at, at + len(data)):
                _write(fd, memoryview(data)[low - at : high - at], low)
            work.step(len(data))
        os.fchmod(fd, original.mode)
        os.utime(fd, ns=(like.st_atime_ns, original.mtime_ns))
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        with PlainContent(_new_name(path)) as again:
            _read_back(again, sums, path, work)
        _publish(path, packed)
        return CompressedFile(path.name, original.size, like.st_blocks * 512, os.fstat(fd).st_blocks * 512)


def _read_back(content: Content, sums: list[int], path: Path, work: Work) -> None:
    for index, digest in enumerate(sums):
        data = content.pread(BLOCK, index * BLOCK)
        if xxhash.xxh3_64_intdigest(data) != digest:
            raise ImageError(f"cannot {work.what}", str(path), f"what was written does not read back (MiB {index})")
        work.step(len(data))


def _publish(new: Path, old: Path) -> None:
    _new_name(new).rename(new)
    sync_directory(new.parent)
    old.unlink()
    sync_directory(new.parent)


def _new_name(path: Path) -> Path:
    return path.with_name(NEW_FILE + path.name)


@contextmanager
def _new_file(path: Path, like: os.stat_result) -> Iterator[int]:
    """The file that will take the name *path*, with the owner and mode of *like*; gone afterwards unless it did."""
    new = _new_name(path)
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not lock.take(fd):
            raise ImageError("cannot write", str(path), f"{lock.holder_of(fd)} holds it")
        if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, like.st_uid, like.st_gid)
        os.fchmod(fd, stat.S_IMODE(like.st_mode))
        yield fd
    finally:
        new.unlink(missing_ok=True)
        os.close(fd)


def _write(fd: int, data: bytes | memoryview, offset: int | None = None) -> None:
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[done:]
        offset = None if offset is None else offset + done


def _written(holes: PageRuns, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of [start, end) that are not holes."""
    at = start
    for low, high in holes.clip(start, end):
        if low > at:
            yield at, low
        at = high
    if at < end:
        yield at, end
