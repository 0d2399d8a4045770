"""Reads one layer: its files as values, each decoded on first use. Opening a layer runs nothing and changes nothing."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.old_forms import complete_core, complete_mm, files_by_kind
from lamina.core.image.pagemap import PageMap
from lamina.core.image.records.tasks import checked_tasks
from lamina.core.image.sidecar import MAX_SIZE, RECEIVED_NAME, Sidecar
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.storage.base import FileInfo, Storage
from lamina.core.image.storage.content import Content
from lamina.core.image.storage.locate import storage_of

MAX_DEPTH = 1000
# Where the sender of a layer keeps its maps: not under the names that say that the pages are here.
SENT_FOLDER = "lamina"
SENT = "sent-"
M = TypeVar("M", bound=Message)
Object = int | str


def sent_map(which: Object) -> str:
    """The map of a task or shared object whose pages were sent elsewhere."""
    return f"{SENT_FOLDER}/{SENT}{which}.img"


class Layer:
    """A directory that holds a committed set of images.

    All readers raise `ImageError`, naming the file, when it is missing or damaged.
    """

    def __init__(self, path: Path, storage: Storage | None = None) -> None:
        """Open the layer that *path* names: a directory (a symbolic link to one is followed), an archive, or ARCHIVE/NAME.

        *storage* is where its files are, if the caller knows.

        Raises:
            ImageError: there is no such directory or archive, or no inventory.img in it.
        """
        self.path = path
        self.storage = storage or storage_of(path)
        self.directory = self.storage.path
        self.key = self.storage.key
        self._cache: dict[tuple[str, Object], object] = {}
        self._stamp: tuple[int, ...] | None = None
        self._sidecar: Sidecar | None = None
        self._adopted: tuple[str, Layer] | None = None
        if not self.has("inventory.img"):
            raise ImageError("not a layer", str(path), "it holds no inventory.img")

    def __repr__(self) -> str:
        return f"Layer({str(self.path)!r})"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.directory.name

    # -- its files -------------------------------------------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """The path of one of its files, whether or not it is there: for messages, and for writers, who need a directory."""
        return self.directory / name

    def names(self) -> tuple[str, ...]:
        """The names of its files, ascending."""
        return self.storage.names()

    def info(self, name: str) -> FileInfo | None:
        """Size, owner and mode of one of its files; None if there is none of that name."""
        return self.storage.info(name)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return self.info(name) is not None

    def read(self, name: str, limit: int = fmt.MAX_FILE) -> bytes:
        """All of a file of at most *limit* bytes."""
        return self.storage.read(name, limit)

    def open(self, name: str) -> Content:
        """One of its files, open for reading."""
        if name.startswith("pages-") and (where := self.pages_elsewhere):
            raise ImageError("cannot read memory of", f"layer {self.path}", f"its pages are at page server {where}", "read it there")
        return self.storage.open(name)

    @property
    def compressed(self) -> bool:
        """Whether its pages files are compressed (`lamina compress`)."""
        return self.storage.compressed

    def require_writable(self, what: str) -> None:
        """Refuse to change a layer that is not a plain directory; *what* as in "cannot dedup".

        Raises:
            ImageError: it is in an archive, or its pages are compressed.
        """
        if not self.storage.writable:
            raise ImageError(what, f"layer {self.path}", "it is in an archive", f"lamina import {self.path} DIR")
        if self.compressed:
            raise ImageError(what, f"layer {self.path}", "its pages are compressed", f"lamina expand {self.path}")

    # -- images ----------------------------------------------------------------------------------------------------------------------

    def _once(self, what: str, number: Object, read: Callable[[], M]) -> M:
        value = self._cache.get((what, number))
        if value is None:
            value = self._cache[(what, number)] = read()
        return value  # type: ignore[return-value]  # one type per `what`

    def _one(self, name: str, kind: fmt.ImageKind[M]) -> M:
        return fmt.decode_one(self.read(name), kind, str(self.file(name)))

    def _all(self, name: str, kind: fmt.ImageKind[M]) -> list[M]:
        return fmt.decode(self.read(name), kind, str(self.file(name)))

    def _some(self, name: str, kind: fmt.ImageKind[M]) -> list[M]:
        return self._all(name, kind) if self.has(name) else []

    @cached_property
    def inventory(self) -> schema.inventory_entry:
        """inventory.img; its version is checked."""
        record = self._one("inventory.img", fmt.INVENTORY)
        # CRIU's pre-dumps leave the version out.
        if record.img_version not in (1, 2) and (record.img_version or self.has("pstree.img")):
            raise ImageError("cannot use layer", str(self.path), f"its image version is {record.img_version}; 1 and 2 are known")
        return record

    @cached_property
    def pstree(self) -> tuple[schema.pstree_entry, ...]:
        """The tasks, parents before children; exactly one root; every pid once."""
        return checked_tasks(self._all("pstree.img", fmt.PSTREE), str(self.file("pstree.img")), self._had_ended)

    def _had_ended(self, pid: int) -> bool:
        try:
            return self._one(f"core-{pid}.img", fmt.CORE).tc.task_state == fmt.TaskState.DEAD
        except ImageError:
            return False

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the tree, parents before children; of a pre-dump, those it has memory of."""
        if self.is_pre_dump:
            return tuple(sorted(it for it in self.objects if isinstance(it, int)))
        return tuple(task.pid for task in self.pstree)

    def core(self, tid: int) -> schema.core_entry:
        """core-TID.img."""
        return self._once("core", tid, lambda: self._core(tid))

    def _core(self, tid: int) -> schema.core_entry:
        found = complete_core(self._one(f"core-{tid}.img", fmt.CORE), tid, self._some)
        if found.HasField("thread_core") and not found.thread_core.HasField("creds") and not found.HasField("tc"):
            # Before threads had credentials of their own, they had those of the leader.
            leader = next((task.pid for task in self.pstree if tid in task.threads and tid != task.pid), None)
            if leader is not None and (theirs := self.core(leader).thread_core).HasField("creds"):
                found.thread_core.creds.CopyFrom(theirs.creds)
        return found

    def mm(self, pid: int) -> schema.mm_entry:
        """mm-PID.img."""
        return self._once("mm", pid, lambda: complete_mm(self._one(f"mm-{pid}.img", fmt.MM), pid, self._some))

    def fs(self, pid: int) -> schema.fs_entry:
        """fs-PID.img."""
        return self._once("fs", pid, lambda: self._one(f"fs-{pid}.img", fmt.FS))

    def ids(self, pid: int) -> schema.task_kobj_ids_entry:
        """ids-PID.img."""
        return self._once("ids", pid, lambda: self._one(f"ids-{pid}.img", fmt.IDS))

    def fdinfo(self, files_id: int) -> tuple[schema.fdinfo_entry, ...]:
        """fdinfo-FILESID.img, by `ids(pid).files_id`."""
        known = self._cache.get(("fdinfo", files_id))
        if not isinstance(known, tuple):
            known = self._cache["fdinfo", files_id] = tuple(self._all(f"fdinfo-{files_id}.img", fmt.FDINFO))
        return known

    @cached_property
    def files(self) -> dict[int, schema.file_entry]:
        """files.img by id; every id once."""
        entries = self._all("files.img", fmt.FILES) if self.has("files.img") or not self.has("reg-files.img") else files_by_kind(self._some)
        table = {entry.id: entry for entry in entries}
        if len(table) != len(entries):
            raise ImageError("damaged image", str(self.file("files.img")), "an id occurs twice")
        return table

    def records(self, name: str) -> tuple[tuple[Any, bytes], ...]:
        """The records of the one image of that name, as in "pipes-data", with what follows each; none if there is no such file."""
        known = self._cache.get(("records", name))
        if not isinstance(known, tuple):
            file = f"{name}.img"
            found = fmt.decode_blobs(self.read(file), fmt.IMAGES[name], str(self.file(file))) if self.has(file) else ()
            known = self._cache["records", name] = tuple(found)
        return known

    # -- memory ----------------------------------------------------------------------------------------------------------------------

    @cached_property
    def objects(self) -> tuple[Object, ...]:
        """The tasks and shared objects whose memory it has: pids, and "shmem-ID"."""
        found: list[Object] = []
        prefix = f"{SENT_FOLDER}/{SENT}" if self.pages_elsewhere else "pagemap-"
        for name in self.storage.names_in(SENT_FOLDER) if self.pages_elsewhere else self.names():
            stem = name.removeprefix(prefix).removesuffix(".img")
            if name == f"{prefix}{stem}.img" and stem.removeprefix("shmem-").isascii() and stem.removeprefix("shmem-").isdigit():
                found.append(int(stem) if stem.isdigit() else stem)
        return tuple(found)

    @cached_property
    def held(self) -> frozenset[Object]:
        """`objects` as a set."""
        return frozenset(self.objects)

    def pagemap(self, which: Object) -> PageMap:
        """pagemap-PID.img, or pagemap-shmem-ID.img for "shmem-ID"; if the pages are at a page server, the copy that the sender kept."""
        value = self._cache.get(("pagemap", which))
        if not isinstance(value, PageMap):
            value = self._cache[("pagemap", which)] = self._pagemap(self.map_name(which))
        return value

    def map_name(self, which: Object) -> str:
        """The name of the map of a task or shared object."""
        return sent_map(which) if self.pages_elsewhere else f"pagemap-{which}.img"

    @cached_property
    def pages_elsewhere(self) -> str:
        """The page server that has its pages, as "10.0.0.2:9999"; "" if they are here."""
        try:
            sidecar = self.sidecar
        except ImageError:
            return ""  # said wherever the sidecar matters
        if sidecar is None or not sidecar.pages_at or any(name.startswith("pagemap-") for name in self.names()):
            return ""
        return sidecar.pages_at

    def _pagemap(self, name: str) -> PageMap:
        return PageMap.decode(self.read(name), str(self.file(name)))

    def pages_name(self, which: Object) -> str:
        """The name of the pages file of a task or shared object."""
        return f"pages-{self.pagemap(which).pages_id}.img"

    def pages_path(self, which: Object) -> Path:
        """Where the pages file of a task or shared object is."""
        return self.file(self.pages_name(which))

    def open_pages(self, which: Object) -> Content:
        """The pages file of a task or shared object, open for reading."""
        return self.open(self.pages_name(which))

    # -- about itself ----------------------------------------------------------------------------------------------------------------

    @property
    def sidecar(self) -> Sidecar | None:
        """lamina.json, or None if it has none; read again when the file was replaced."""
        info = self.info(SIDECAR)
        if info is None:
            return None
        received = self.info(RECEIVED_NAME)
        stamp = info.stamp + (received.stamp if received else ())
        if self._stamp != stamp:
            self._sidecar = Sidecar.from_json(self.read(SIDECAR, MAX_SIZE), str(self.file(SIDECAR)))
            if received is not None:
                pages = Sidecar.from_json(self.read(RECEIVED_NAME, MAX_SIZE), str(self.file(RECEIVED_NAME)))
                self._sidecar = self._sidecar.with_received(pages)
            self._stamp = stamp
        return self._sidecar

    @property
    def memory_only(self) -> str:
        """Why there is nothing but memory in it, in words for what cannot be done with it; "" if there is more."""
        if not self.is_pre_dump:
            return ""
        received = self.sidecar is not None and self.sidecar.made_by == "page-server"
        return "memory only: " + ("the sender's images are not here yet" if received else "a pre-dump, a parent for others")

    @property
    def is_pre_dump(self) -> bool:
        """Memory only: a parent for other layers, not restorable itself."""
        if self.sidecar and self.sidecar.made_by == "lamina":
            return self.sidecar.memory_only  # then a missing pstree.img is a missing file
        if self.inventory.HasField("pre_dump_mode"):
            return True
        # Before CRIU 3.15 only the files told.
        return not self.has("pstree.img") and not any(name.startswith("core-") for name in self.names())

    @property
    def parent_link(self) -> str | None:
        """The text of its `parent` link, or None if it has none.

        Raises:
            ImageError: there is a `parent` that is not a symbolic link.
        """
        return self.storage.link("parent") if self.has("parent") else None

    def parent(self) -> "Layer | None":
        """The layer its `parent` link names.

        Raises:
            ImageError: the link names no layer.
        """
        link = self.parent_link
        if link is None:
            return None
        if self._adopted and self._adopted[0] == link:
            return self._adopted[1]
        try:
            storage = self.storage.follow(link)
            return Layer(storage.path, storage)
        except ImageError as error:
            raise ImageError(
                "cannot use layer",
                str(self.path),
                f"its parent {link} is not there: {error.why}",
                f"if it was moved or renamed: lamina relink {self.path}",
            ) from error

    def adopt(self, parent: "Layer") -> None:
        """Let `parent` return this object as long as the link does not change, so that a common ancestor is decoded once."""
        if link := self.parent_link:
            self._adopted = (link, parent)

    def chain(self) -> "tuple[Layer, ...]":
        """This layer, its parent, and so on up to the full layer.

        Raises:
            ImageError: a parent is missing, the links form a circle, or there are more than `MAX_DEPTH`.
        """
        found = [self]
        keys = {self.key}
        while (above := found[-1].parent()) is not None:
            if above.key in keys:
                raise ImageError("cannot use layer", str(self.path), f"its parents form a circle at {above.name}")
            if len(found) == MAX_DEPTH:
                raise ImageError("cannot use layer", str(self.path), f"it has more than {MAX_DEPTH} ancestors")
            keys.add(above.key)
            found.append(above)
        return tuple(found)
