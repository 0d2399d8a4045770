"""What kinds may use while they plan and open the descriptions of a layer in the restorer."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from lamina.core.errors import ImageError
from lamina.core.image.schema import file_entry
from lamina.core.image.supplement import Supplement, Values
from lamina.core.objects.kind import DescriptorKind, Key, KindTable, Opening, OpenOptions
from lamina.core.objects.layer_files import LayerFiles, Tables, reachable, users_of
from lamina.core.objects.named_file import path_of

T = TypeVar("T")


def maker_of(ident: int, watched: Iterable[int], users: Iterable[tuple[int, int]], tables: Tables) -> tuple[int, int]:
    """Which task makes a description, and as which number: the first of its users that has all the numbers it watches.

    Raises:
        ImageError: no task has.
    """
    wanted = set(watched)
    for pid, fd in users:
        if wanted <= {entry.fd for entry in tables[pid]}:
            return pid, fd
    raise ImageError("damaged image", "files.img", f"file {ident} watches descriptors that no task has")


class Restorer(Opening):
    """The descriptions of a layer while they are opened.

    Attributes:
        files: every record, by id; users: file id → who has it, as (pid, number).
        wanted: ids of all that are to be made, also of those that only others hold.
        fds: file id → where it is open here, if it was made by now.
        notices: what is not as it was, as sentences.
    """

    def __init__(self, layer: LayerFiles, tables: Tables, kinds: KindTable, options: OpenOptions) -> None:
        self.options = options
        self.files = layer.files
        self.tables = tables
        self.users = users_of(tables)
        self.fds: dict[int, int] = {}
        self._layer = layer
        self._kinds = kinds
        self._supplement = layer.sidecar.supplement if layer.sidecar else Supplement()
        self.notices: list[str] = []
        self.wanted = reachable(self.users, lambda entry: kinds.held_by(entry, layer), layer.files)
        self._sharers: dict[Key, list[file_entry]] = {}
        for ident in self.wanted:
            if key := self._shares(self.files[ident]):
                self._sharers.setdefault(key, []).append(self.files[ident])
        self._waiting = {key: len(entries) for key, entries in self._sharers.items()}
        self._objects: dict[Key, tuple[Any, Callable[[Any], None]]] = {}

    def kind(self, ident: int) -> DescriptorKind | None:
        """The kind of a description, or None."""
        return self._kinds.of_entry(self.files[ident])

    def _shares(self, entry: file_entry) -> Key | None:
        kind = self._kinds.of_entry(entry)
        return kind.shares(entry) if kind else None

    def shared(self) -> Iterable[tuple[DescriptorKind, Key]]:
        """Every object that stands behind descriptions, with a kind of one."""
        for key, entries in self._sharers.items():
            if kind := self._kinds.of_entry(entries[0]):
                yield kind, key

    def remade(self) -> Iterable[tuple[DescriptorKind, Key]]:
        """Those that are made again when the processes exist."""
        return [(kind, key) for kind, key in self.shared() if kind.remade]

    # -- what kinds use ----------------------------------------------------------------------------------------------------------------

    def records(self, image: str) -> Sequence[tuple[Any, bytes]]:
        """See `Opening.records`."""
        return self._layer.records(image)

    @property
    def pids(self) -> Collection[int]:
        """See `Opening.pids`."""
        return self.tables.keys()

    def notice(self, sentence: str) -> None:
        """See `Opening.notice`."""
        self.notices.append(sentence)

    def sharers(self, key: Key) -> Sequence[file_entry]:
        """See `Opening.sharers`."""
        return self._sharers.get(key, ())

    def once(self, key: Key, make: Callable[[], T], release: Callable[[T], None]) -> T:
        """See `Opening.once`."""
        if key not in self._objects:
            self._objects[key] = make(), release
        found: T = self._objects[key][0]
        return found

    def supplement(self, ident: int) -> Values:
        """See `Opening.supplement`."""
        return self._supplement.files.get(ident, {})

    def entry(self, ident: int) -> file_entry:
        """See `Opening.entry`."""
        if ident not in self.files:
            raise ImageError("damaged image", "files.img", f"it lacks file {ident}")
        return self.files[ident]

    def fd(self, ident: int) -> int:
        """See `Opening.fd`."""
        if ident not in self.fds:
            raise ImageError("damaged image", "files.img", f"file {ident} is of no descriptor")
        return self.fds[ident]

    def name(self, ident: int) -> str:
        """See `Opening.name`."""
        entry, kind = self.entry(ident), self.kind(ident)
        what = path_of(entry.reg) if entry.HasField("reg") else kind.name if kind else f"of type {entry.type}"
        users = self.users.get(ident)
        return f"fd {users[0][1]} of process {users[0][0]} ({what})" if users else f"file {ident} ({what})"

    def numbers(self, pid: int) -> Mapping[int, int]:
        """See `Opening.numbers`."""
        return {entry.fd: entry.id for entry in self.tables[pid]}

    # -- what opens them uses ----------------------------------------------------------------------------------------------------------

    def opened(self, entry: file_entry) -> None:
        """*entry* is made: the object whose every description is, is needed here no longer."""
        key = self._shares(entry)
        if key is None:
            return
        self._waiting[key] -= 1
        if not self._waiting[key]:
            self._release(key)

    def _release(self, key: Key) -> None:
        if key in self._objects:
            made, release = self._objects.pop(key)
            release(made)

    def close(self) -> None:
        """Let go of all objects. Idempotent."""
        for key in list(self._objects):
            with suppress(OSError):
                self._release(key)
