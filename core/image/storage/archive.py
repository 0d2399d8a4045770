"""Layers in an archive, read in place: what podman, runc, crun, the kubelet and `lamina export` write.

A directory of the archive that holds an inventory.img is a layer. Its `parent` link names another directory of the same archive, as
podman's `../pre-checkpoint` does; a link that leads out of the archive is refused, for what is outside is not what was archived.
"""

import os
import posixpath
import stat
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
from typing_extensions import override

from lamina.core.errors import ImageError
from lamina.core.image.storage.base import FileInfo, Storage
from lamina.core.image.storage.compressed import CompressedContent
from lamina.core.image.storage.content import Content, PlainContent
from lamina.core.image.storage.directory import COMPRESSED, is_compressed_name
from lamina.core.image.storage.streams import open_stream
from lamina.core.image.storage.tar_members import HARD_LINK, Member, members_of

_TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "link": stat.S_IFLNK}
# Archives kept open: a chain of layers opens its archive once for each of them.
_KEPT = 4


class MemberContent(Content):
    """The content of a file in an archive; holes read as zeros."""

    fd = None

    def __init__(self, archive: Content, member: Member) -> None:
        """*archive* is not closed with it: other files of the archive are read from it, too."""
        self._archive = archive
        self.member = member
        self.size = member.size

    @override
    def pread(self, size: int, offset: int) -> bytes:
        end = min(offset + size, self.size)
        member = self.member
        at = max(0, int(np.searchsorted(member.starts, offset, side="right")) - 1)
        parts: list[bytes] = []
        while offset < end:
            start = int(member.starts[at]) if at < len(member.starts) else self.size
            stop = start + int(member.sizes[at]) if at < len(member.starts) else self.size
            if offset >= stop:
                at += 1
            elif offset < start:
                parts.append(bytes(min(start, end) - offset))
                offset = min(start, end)
            else:
                part = self._archive.pread(min(stop, end) - offset, int(member.positions[at]) + offset - start)
                if not part:
                    raise ImageError("cannot read", member.name, "the archive was cut short while it was read")
                parts.append(part)
                offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @override
    def close(self) -> None:
        """The archive stays open."""


@dataclass(frozen=True)
class Archive:
    """An archive of layers.

    Attributes:
        path: the file.
        key: identifies the file and its version.
        uid, mode, gid: owner, permissions and group of the file that was opened: what is in it is as trustworthy as the file,
            whatever its headers say.
        content: what the file holds, decompressed.
        layers: directory in the archive ("" for the top) → file name → member, for each directory that is a layer.
        others: members that belong to no layer, by path.
    """

    path: Path
    key: tuple[int, ...]
    uid: int
    mode: int
    content: Content
    layers: dict[str, dict[str, Member]]
    others: dict[str, Member]
    gid: int = 0

    @classmethod
    def open(cls, path: Path) -> "Archive":
        """Open the archive *path*.

        Raises:
            ImageError: it cannot be read, is no tar, is damaged or malicious, or holds no layer.
        """
        try:
            path = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise ImageError("cannot read", str(path), "no such file" if isinstance(error, FileNotFoundError) else str(error)) from error
        source = PlainContent(path)
        found = source.info  # of what was opened, and is read from here on
        key = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        with _lock:
            known = _open.get(key)
            if known is not None:
                source.close()
                archive = replace(known, path=path, uid=found.st_uid, mode=found.st_mode & 0o777, gid=found.st_gid)
            else:
                content = open_stream(source)
                try:
                    archive = cls(path, key, found.st_uid, found.st_mode & 0o777, content, *_sorted_out(content, str(path)), found.st_gid)
                except BaseException:
                    content.close()
                    raise
            _open[key] = archive
            _open.move_to_end(key)
            if len(_open) > _KEPT:
                _open.popitem(last=False)  # closed by whoever still reads from it, when the last of them goes
        return archive

    def parent_of(self, layer: str) -> str | None:
        """The directory that the `parent` link of the directory *layer* names, whether or not the archive holds it; None without a link.

        Raises:
            ImageError: it leads out of the archive, or is no link.
        """
        member = self.layers[layer].get("parent")
        if member is None:
            return None
        if member.kind != "link":
            raise ImageError("cannot use layer", f"{self.path}/{layer}", "its `parent` is not a symbolic link")
        return self.resolve(layer, member.target)

    def resolve(self, layer: str, link: str) -> str:
        """The directory that *link*, found in the directory *layer*, names.

        Raises:
            ImageError: it leads out of the archive.
        """
        target = posixpath.normpath(posixpath.join(layer, link))
        if link.startswith("/") or target == ".." or target.startswith("../"):
            raise ImageError("cannot use layer", f"{self.path}/{layer}".rstrip("/"), f"its parent {link} is not in the archive")
        return "" if target == "." else target

    def leaf(self) -> str:
        """The directory of the layer that the archive stands for: the only layer, or the only one that is no parent.

        Raises:
            ImageError: there are several.
        """
        parents = {self.parent_of(layer) for layer in self.layers}
        leaves = [layer for layer in self.layers if layer not in parents] or list(self.layers)
        if len(leaves) > 1:
            names = ", ".join(f"{self.path.name}/{layer}".rstrip("/") for layer in sorted(leaves)[:8])
            raise ImageError("cannot choose", f"a layer of {self.path}", f"it holds several: {names}", "name one of them")
        return leaves[0]

    def find(self, inside: str) -> str:
        """The directory of the layer that *inside* names: its path in the archive, or the end of that.

        Raises:
            ImageError: there is no such layer, or more than one.
        """
        if inside in self.layers:
            return inside
        found = [layer for layer in self.layers if layer.endswith("/" + inside)]
        if len(found) != 1:
            names = ", ".join(sorted(layer or "." for layer in self.layers)[:8])
            raise ImageError("not a layer", f"{self.path}/{inside}", f"the archive holds {names}")
        return found[0]


_open: "OrderedDict[tuple[int, ...], Archive]" = OrderedDict()
_lock = Lock()


def _sorted_out(content: Content, name: str) -> tuple[dict[str, dict[str, Member]], dict[str, Member]]:
    """The members by layer, and those of none."""
    by_directory: dict[str, list[Member]] = defaultdict(list)
    files_seen: dict[str, Member] = {}
    for found in members_of(content, name):
        # A hard link is another name of a file that came before it, in the same archive: tar writes one where a stack has one.
        first = files_seen.get(posixpath.normpath(found.target)) if found.kind == HARD_LINK else None
        member = replace(first, name=found.name) if first else found
        if member.kind == "file":
            files_seen[member.name] = member
        by_directory[posixpath.dirname(member.name)].append(member)
    layers: dict[str, dict[str, Member]] = {}
    others: dict[str, Member] = {}
    for directory, members in by_directory.items():
        if not any(posixpath.basename(member.name) == "inventory.img" for member in members):
            others |= {member.name: member for member in members}
            continue
        files = layers[directory] = {}
        for member in members:
            base = posixpath.basename(member.name)
            if base in files:
                raise ImageError("cannot read", name, f"{member.name} is in it twice")
            if member.kind not in _TYPES:
                raise ImageError("cannot read", name, f"{member.name} is {member.kind}, not a file")
            if base:  # the top directory itself has no name
                files[base] = member
    if not layers:
        raise ImageError("not a layer", name, "no directory in the archive holds an inventory.img")
    return layers, others


class ArchiveStorage(Storage):
    """A layer in an archive."""

    def __init__(self, archive: Archive, layer: str) -> None:
        """*layer* is the directory in the archive."""
        self.archive = archive
        self.layer = layer
        self.path = archive.path / layer
        self.key = (*archive.key, layer)
        self._files = archive.layers[layer]

    @override
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({name.removesuffix(COMPRESSED) if is_compressed_name(name) else name for name in self._files}))

    @override
    def info(self, name: str) -> FileInfo | None:
        """What a file takes on disk is what the archive has of it, before compression."""
        member = self._files.get(name)
        if member is None:
            packed = self._files.get(name + COMPRESSED)
            if packed is None or not is_compressed_name(name + COMPRESSED):
                return None
            with self.open(name) as content:
                return self._info(packed, content.size)
        return self._info(member, member.size)

    def _info(self, member: Member, size: int) -> FileInfo:
        mode = _TYPES[member.kind] | self.archive.mode
        return FileInfo(size, member.stored, member.mtime, self.archive.uid, mode, (*self.archive.key, member.offset))

    @override
    def open(self, name: str) -> Content:
        member = self._files.get(name)
        if member is None and (packed := self._files.get(name + COMPRESSED)) is not None and is_compressed_name(name + COMPRESSED):
            return CompressedContent(MemberContent(self.archive.content, packed), str(self.path / packed.name))
        if member is None or member.kind != "file":
            raise ImageError("cannot read image", str(self.path / name), "not a regular file" if member else "missing")
        return MemberContent(self.archive.content, member)

    @override
    def link(self, name: str) -> str:
        member = self._files.get(name)
        if member is None or member.kind != "link":
            raise ImageError("cannot use layer", str(self.path), f"its `{name}` is not a symbolic link")
        return member.target

    @override
    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        """What is in the archive is as trustworthy as its file."""
        owner = os.stat_result((stat.S_IFREG | self.archive.mode, 0, 0, 1, self.archive.uid, self.archive.gid, 0, 0, 0, 0))
        yield str(self.archive.path), owner

    @override
    def follow(self, link: str) -> Storage:
        """Never leaves the archive."""
        target = self.archive.resolve(self.layer, link)
        if target not in self.archive.layers:
            raise ImageError("not a layer", str(self.archive.path / target), "the archive does not hold it")
        return ArchiveStorage(self.archive, target)


def open_archive(path: Path, inside: Path | PurePosixPath) -> ArchiveStorage:
    """The layer *inside* the archive *path*; "." is the one that the archive as a whole stands for.

    Raises:
        ImageError: it is no archive of layers, or holds no such layer, or several that could be meant.
    """
    archive = Archive.open(path)
    return ArchiveStorage(archive, archive.leaf() if str(inside) == "." else archive.find(inside.as_posix()))
