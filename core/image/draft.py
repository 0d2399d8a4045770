"""Writes a layer: it appears complete or not at all.

Everything is written into a hidden directory inside the directory the user made (see `leftovers`), then fsynced, then renamed into place;
inventory.img, without which neither criu nor lamina restores, is renamed last and is the commit. Files are 0600 and the directory becomes
0700: images hold what the memory held.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from google.protobuf.message import Message

from lamina.core.errors import BusyError, ImageError, Unanswered
from lamina.core.image import lock
from lamina.core.image.format import IMAGES, Head, ImageKind, encode_image
from lamina.core.image.layer import MAX_DEPTH, Layer, Object
from lamina.core.image.leftovers import COMMITTING, DRAFT, FOLDER, NAME, cannot_write, clear_draft, sweep_whole_stack, take_back
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.sums import FileSum, sum_bytes, sum_file
from lamina.core.image.unconfirmed import NAME as AWAITING
from lamina.core.image.unconfirmed import Unconfirmed, unconfirmed_in

# What the images of even a small task need beside its pages.
MARGIN = 1 << 20


class LayerDraft:
    """The one writer of a layer. Use as a context manager: leaving it without `commit` leaves the directory as it was.

    Attributes:
        path: the directory of the layer; after `commit` its current path, if somebody renamed it meanwhile.
        parent: the parent layer, or None for a full dump.
    """

    def __init__(self, path: Path, parent_link: str | None, parent: Layer | None, images_fd: int, draft_fd: int) -> None:
        """Use `create`."""
        self.path = path
        self.parent = parent
        self._parent_link = parent_link
        self._images_fd = images_fd
        self._draft_fd = draft_fd
        self._sums: dict[str, FileSum] = {}
        self._pages: dict[str, int] = {}
        self._open = True

    @classmethod
    def create(cls, images_dir: Path, parent: str | None = None, need_bytes: int = 0) -> "LayerDraft":
        """Begin a layer in the existing directory *images_dir*, on *parent* (relative to it, as typed) if given.

        *need_bytes* is what the pages will take, if known: a file system with less is refused now rather than after the freeze.

        Raises:
            ImageError: *images_dir* is missing, no directory, not writable, full, or holds images already; *parent* is not a layer.
            BusyError: another lamina is writing there.
        """
        try:
            images_fd = os.open(images_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ImageError("cannot write layer", str(images_dir), "no such directory", f"mkdir -p {images_dir}") from error
        except NotADirectoryError as error:
            raise ImageError("cannot write layer", str(images_dir), "not a directory") from error
        except OSError as error:
            raise cannot_write(images_dir, error.errno or 0) from error
        try:
            sweep_whole_stack(images_dir)
            _refuse_used(images_dir, images_fd)
            above = _parent_layer(images_dir, parent)
            _refuse_full(images_dir, images_fd, need_bytes)
            return cls(images_dir, parent, above, images_fd, _make_draft(images_dir, images_fd))
        except BaseException:
            os.close(images_fd)
            raise

    def __enter__(self) -> "LayerDraft":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.abort()

    # -- writing ---------------------------------------------------------------------------------------------------------------------

    def put(self, name: str, kind: str | ImageKind[Any], records: Iterable[Message | tuple[Message, bytes]]) -> None:
        """Write an image. *name* is the file's, with or without ".img", as in "core-4711".

        Raises:
            ImageError: a record is not complete, or it cannot be written (full, read-only, …).
        """
        found = IMAGES[kind] if isinstance(kind, str) else kind
        if found.head is not Head.SERVICE and not name.endswith(".img"):
            name += ".img"
        self.put_bytes(name, encode_image(found, records))

    def put_pagemap(self, which: Object, pagemap: PageMap) -> None:
        """Write the map of a task (by pid) or of a shared object ("shmem-ID"). Raises as `put`."""
        self.put_bytes(f"pagemap-{which}.img", pagemap.encode())

    def put_bytes(self, name: str, data: bytes) -> None:
        """Write a file with this content. Raises as `put`."""
        fd = self._create(name)
        try:
            with os.fdopen(fd, "wb", buffering=0, closefd=False) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) or 0 :]
        except OSError as error:
            raise cannot_write(self.path, error.errno or 0) from error
        finally:
            os.close(fd)
        self._sums[name] = sum_bytes(data)

    def put_aside(self, name: str, data: bytes) -> None:
        """Write a file into the folder that only lamina reads. Raises as `put`."""
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name for an image")
        try:
            with suppress(FileExistsError):
                os.mkdir(FOLDER, 0o700, dir_fd=self._draft_fd)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(f"{FOLDER}/{name}", flags, 0o600, dir_fd=self._draft_fd), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error.errno or 0) from error

    def open_pages(self, pages_id: int) -> int:
        """An empty pages-*pages_id*.img, open for reading and writing; the draft closes it. What goes wrong while writing it is best
        reported by `lamina.core.image.leftovers.cannot_write`.

        Raises:
            ImageError: it cannot be made.
        """
        name = f"pages-{pages_id}.img"
        self._pages[name] = self._create(name)
        return self._pages[name]

    def replace_pages(self, pages_id: int) -> int:
        """An empty pages-*pages_id*.img in place of the one opened before, whose descriptor is the caller's from now on.

        Raises as `open_pages`.
        """
        os.unlink(f"pages-{pages_id}.img", dir_fd=self._draft_fd)
        return self.open_pages(pages_id)

    def _create(self, name: str) -> int:
        if not self._open:
            raise ValueError("the layer was committed or aborted")
        if name not in (COMMITTING, AWAITING) and (not NAME.fullmatch(name) or name == "parent"):
            raise ValueError(f"{name!r} is not a name for an image")
        try:
            return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._draft_fd)
        except OSError as error:
            raise cannot_write(self.path, error.errno or 0) from error

    # -- ending ----------------------------------------------------------------------------------------------------------------------

    def commit(
        self,
        sidecar: Sidecar,
        unconfirmed: Unconfirmed | None = None,
        deliver: Callable[[], None] | None = None,
        unsummed: Collection[str] = (),
    ) -> Layer:
        """Make it a layer: sum and fsync every file, rename each into place, inventory.img last. Returns the layer.

        If its pages go elsewhere, *unconfirmed* says where, and *deliver* is called when all but inventory.img is in place and on the
        disk: it returns once they arrived. The sidecar gets the checksum of every file but the *unsummed*.

        Raises:
            Unanswered: what *deliver* raised; everything stays as it is, to be settled by the next command (`leftovers.sweep`).
            ImageError: it could not be written; nothing of it is left.
            ValueError: there is no inventory.
        """
        if "inventory.img" not in self._sums:
            raise ValueError("a layer needs an inventory")
        moved: list[str] = []
        before = stat.S_IMODE(os.fstat(self._images_fd).st_mode)
        try:
            for name, fd in self._pages.items():
                self._sums[name] = FileSum(0, ()) if name in unsummed else sum_file(fd)
            sums = {name: it for name, it in self._sums.items() if name not in unsummed}
            self.put_bytes(SIDECAR, replace(sidecar, checksums=sums).to_json().encode("ascii"))
            names = [name for name in self._sums if name != "inventory.img"]
            if FOLDER in os.listdir(self._draft_fd):
                names.append(FOLDER)
            if self._parent_link is not None:
                os.symlink(self._parent_link, "parent", dir_fd=self._draft_fd)
                names.append("parent")
            names.append("inventory.img")
            if unconfirmed is not None:
                self.put_bytes(AWAITING, unconfirmed.encode())
            self.put_bytes(COMMITTING, "\n".join(names).encode("ascii"))
            for name in os.listdir(self._draft_fd):
                if name != "parent":
                    _sync(name, self._draft_fd)
            os.fsync(self._draft_fd)
            with suppress(PermissionError):  # another's directory: the files are 0600 all the same
                os.fchmod(self._images_fd, 0o700)
            if self._parent_link is None:
                _remove_stale_link(self._images_fd)
            self._put_in_place(names, moved, deliver)
            os.fsync(self._images_fd)
        except Unanswered:
            self._close()
            raise
        except BaseException as error:
            take_back(self._images_fd, moved)
            with suppress(OSError):
                os.fchmod(self._images_fd, before)
            self.abort()
            if isinstance(error, OSError):
                raise cannot_write(self.path, error.errno or 0) from error
            raise
        self.path = self._place()
        self.abort()
        return Layer(self.path)

    def _place(self) -> Path:
        """Where the directory is now: all is written through its descriptor, so the layer is there and not where it was."""
        with suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self._images_fd)):
                return self.path
        return Path(os.readlink(f"/proc/self/fd/{self._images_fd}"))

    def _put_in_place(self, names: list[str], moved: list[str], deliver: Callable[[], None] | None) -> None:
        """Rename *names*, the inventory last; those that were are added to *moved*."""
        for name in names:
            if name == "inventory.img":
                os.fsync(self._images_fd)
                if deliver is not None:
                    deliver()
            os.rename(name, name, src_dir_fd=self._draft_fd, dst_dir_fd=self._images_fd)
            moved.append(name)

    def abort(self) -> None:
        """Remove what was written, unless it was committed. Never raises; what cannot be removed now, the next command removes."""
        if not self._open:
            return
        with suppress(OSError):
            clear_draft(self._images_fd, self._draft_fd)
        self._close()

    def _close(self) -> None:
        self._open = False
        for fd in (*self._pages.values(), self._draft_fd, self._images_fd):
            with suppress(OSError):
                os.close(fd)


def _refuse_used(images_dir: Path, images_fd: int) -> None:
    names = set(os.listdir(images_fd))
    if "inventory.img" in names:
        raise ImageError("cannot write layer", str(images_dir), "it already holds a layer", "choose an empty directory")
    if sent := unconfirmed_in(images_dir):
        raise ImageError("cannot write layer", str(images_dir), sent.why, "choose an empty directory")
    used = sorted(name for name in names if name.endswith(".img") or name == SIDECAR)
    if used:
        raise ImageError("cannot write layer", str(images_dir), f"it already holds images ({used[0]})", "choose an empty directory")
    if DRAFT in names:
        raise BusyError("cannot write layer", str(images_dir), "another lamina is writing a layer there", "wait for it to end")
    if "parent" in names and not stat.S_ISLNK(os.lstat("parent", dir_fd=images_fd).st_mode):
        raise ImageError("cannot write layer", str(images_dir), "its `parent` is not a symbolic link", "choose an empty directory")


def _parent_layer(images_dir: Path, parent: str | None) -> Layer | None:
    if parent is None:
        return None
    try:
        layer = Layer(images_dir / parent)
        if len(layer.chain()) >= MAX_DEPTH:
            raise ImageError("", why=f"it has {MAX_DEPTH} ancestors, the most there can be", fix="make a full dump")
    except ImageError as error:
        raise ImageError("cannot use as parent", parent or "''", error.why, error.fix) from error
    return layer


def _refuse_full(images_dir: Path, images_fd: int, need_bytes: int) -> None:
    info = os.statvfs(images_fd)
    if info.f_flag & os.ST_RDONLY:
        raise ImageError("cannot write layer", str(images_dir), "read-only file system", "choose another directory")
    free = (info.f_bfree if os.geteuid() == 0 else info.f_bavail) * info.f_frsize
    if info.f_blocks and free < need_bytes + MARGIN:
        need = f"{(need_bytes + MARGIN) >> 20} MiB needed, {free >> 20} MiB free"
        raise ImageError("cannot write layer", str(images_dir), f"no space left on device: {need}", "free some space")


def _make_draft(images_dir: Path, images_fd: int) -> int:
    try:
        os.mkdir(DRAFT, 0o700, dir_fd=images_fd)
        draft_fd = os.open(DRAFT, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=images_fd)
        if lock.take(draft_fd):
            return draft_fd
        os.close(draft_fd)
    except (FileExistsError, FileNotFoundError):
        pass
    except OSError as error:
        raise cannot_write(images_dir, error.errno or 0) from error
    raise BusyError("cannot write layer", str(images_dir), "another lamina is writing a layer there", "wait for it to end")


def _remove_stale_link(images_fd: int) -> None:
    # A criu that failed leaves one; with it a full layer would seem to have a parent.
    with suppress(FileNotFoundError):
        os.unlink("parent", dir_fd=images_fd)


def _sync(name: str, directory_fd: int) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
