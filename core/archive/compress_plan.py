"""What compressing or expanding a layer would do, and to which of its files."""

import os
from dataclasses import dataclass
from pathlib import Path

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.image.holes import holes_of
from lamina.core.image.layer import Layer
from lamina.core.image.storage.compressed import CompressedContent, Original
from lamina.core.image.storage.content import Content, PlainContent
from lamina.core.image.storage.directory import COMPRESSED, is_compressed_name
from lamina.core.image.storage.seekable import compress_frame

# Below this a file takes no less disk when it is compressed.
_SMALLEST = 1 << 16
_SAMPLES = 48


@dataclass(frozen=True)
class CompressedFile:
    """What compressing or expanding does to one file.

    Attributes:
        name: the pages file.
        size: its bytes.
        disk_before, disk_after: bytes on disk; in a plan, disk_after is estimated from samples.
    """

    name: str
    size: int
    disk_before: int
    disk_after: int


@dataclass(frozen=True)
class CompressResult:
    """What was done, or would be.

    Attributes:
        layer: its directory.
        files: those that were compressed or expanded.
        kept: those that stay as they are: too small, or nothing to gain.
        elapsed_us: how long it took.
    """

    layer: Path
    files: tuple[CompressedFile, ...]
    kept: tuple[str, ...]
    elapsed_us: int = 0

    @property
    def bytes_freed(self) -> int:
        """Bytes of disk given back; negative if it takes more than before."""
        return sum(file.disk_before - file.disk_after for file in self.files)


def plan_compress(layer: Layer) -> CompressResult:
    """What compressing would save, estimated from a few dozen pieces of each file. Changes nothing.

    Raises:
        ImageError: it is in an archive, or a file cannot be read.
    """
    directory = directory_of(layer, "cannot compress")
    files, kept = [], []
    for name in plain_files(directory):
        with PlainContent(directory / name) as content:
            guess = _guess(content, name)
        if guess.disk_after < guess.disk_before:
            files.append(guess)
        else:
            kept.append(name)
    return CompressResult(directory, tuple(files), tuple(kept))


def plan_expand(layer: Layer) -> CompressResult:
    """What expanding would take. Changes nothing. Raises as `plan_compress`."""
    directory = directory_of(layer, "cannot expand")
    files = []
    for name in packed_files(directory):
        with CompressedContent(directory / name) as content:
            files.append(_expanded(directory / name, content.original))
    return CompressResult(directory, tuple(files), ())


def directory_of(layer: Layer, what: str) -> Path:
    """The directory of a layer; *what* as in "cannot compress".

    Raises:
        ImageError: it is in an archive.
    """
    if not layer.storage.writable:
        raise ImageError(what, f"layer {layer.path}", "it is in an archive", f"lamina import {layer.path} DIR")
    return layer.directory


def plain_files(directory: Path) -> list[str]:
    """The pages files that can be compressed."""
    return [
        entry.name
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name)
        if is_compressed_name(entry.name + COMPRESSED) and entry.is_file(follow_symlinks=False) and entry.stat().st_size >= _SMALLEST
    ]


def packed_files(directory: Path) -> list[str]:
    """The files that can be expanded."""
    return sorted(entry.name for entry in os.scandir(directory) if is_compressed_name(entry.name))


def unwritten(content: Content) -> PageRuns:
    """The ranges of an open plain file that have no blocks; none if the file system does not tell: then the whole file is written."""
    assert content.fd is not None
    try:
        return holes_of(content.fd, content.size)
    except NativeError:
        return PageRuns.empty()


def _guess(content: Content, name: str) -> CompressedFile:
    assert content.fd is not None
    disk = os.fstat(content.fd).st_blocks * 512
    data = PageRuns.of([(0, -(-content.size // PAGE) * PAGE)]) - unwritten(content)
    taken = packed = 0
    step = max(1, data.pages // (_SAMPLES * 64))
    for index, piece in enumerate(data.split(64)):
        if index % step:
            continue
        for low, high in piece:
            sample = content.pread(high - low, low)
            taken += len(sample)
            packed += len(compress_frame(sample))
    return CompressedFile(name, content.size, disk, min(disk, -(-int(disk * packed / taken) // 4096) * 4096) if taken else disk)


def _expanded(path: Path, original: Original) -> CompressedFile:
    name, now = path.name.removesuffix(COMPRESSED), os.lstat(path).st_blocks * 512
    return CompressedFile(name, original.size, now, original.size - original.holes.bytes)


def refuse_full(directory: Path, need: int) -> None:
    """Refuse to expand into a file system without room for *need* bytes.

    Raises:
        ImageError: there is too little.
    """
    info = os.statvfs(directory)
    free = (info.f_bfree if os.geteuid() == 0 else info.f_bavail) * info.f_frsize
    if free < need:
        why = f"no space left on device: {need >> 20} MiB needed, {free >> 20} MiB free"
        raise ImageError("cannot expand", f"layer {directory}", why, "free some space")
