"""What a kind of descriptor says of itself, and what it may use while it says it. One file of `core/kinds/` holds all of one kind.

A *descriptor* is a number in a task's table; what it names is an *open file description* (open(2)), which dup, fork and SCM_RIGHTS share.
Behind several descriptions may stand one *object*: the pipe of two ends, the terminal of many. It has a key by which it is found again,
is saved once, and is made once. Numbers are the business of `install.py`.

The stages of a restore, in the order in which they come: a description is made, in the restorer or (`made_in_task`) in one task; when all
are made, what stands between them is put back (`connect`, `connect_in_task`): peers, queues, watches; `before_run` is the last thing.
An object that remembers who made it, or whose contents name processes, is `remade` when the processes exist: `make` is its trial.

A description may hold others (in flight in the queue of a socket), also such that no task has a number for: `held`, `needs`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import Message

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker
from lamina.core.image.schema import fd_types, file_entry, fown_entry
from lamina.core.image.supplement import Rule, Values
from lamina.core.objects.layer_files import LayerFiles, Tables
from lamina.core.objects.rawfd import Holders, RawFd

T = TypeVar("T")
IN_FLIGHT: Final = "it watches numbers of a task, and is in flight to another"
"""Of one that is `made_in_task`, and that another description holds: by when it is made, that one is full."""
Key = tuple[Hashable, ...]
"""An object behind descriptions: what it is and which one, as in ("pipe", 4711)."""


@dataclass(frozen=True, eq=False)
class CapturedFile:
    """One open file description, as captured in the freeze.

    Attributes:
        holders: every descriptor of it in the tree, in tree order; of one that only another description holds, a copy of ours.
        kind: what it is.
        extra: what its kind captured.
        held: what it holds, in the order of `DescriptorKind.held`.
    """

    holders: Holders
    kind: "DescriptorKind"
    extra: Any = None
    held: list["CapturedFile"] = field(default_factory=list)

    @property
    def raw(self) -> RawFd:
        """The first of its descriptors: what is the description's is the same in all."""
        return self.holders[0]


class Surroundings:
    """What the machine says that descriptors are held against, read once for a whole look at a tree (`DescriptorKind.surroundings`)."""

    def __init__(self) -> None:
        self._read: dict[str, Any] = {}

    def of(self, kind: "DescriptorKind") -> Any:
        """Those of *kind*."""
        if kind.name not in self._read:
            self._read[kind.name] = kind.surroundings()
        return self._read[kind.name]


@dataclass(frozen=True)
class TreeView:
    """What a kind may ask about the tree.

    Attributes:
        pids: the tree.
        shell_job: `--shell-job` was given.
        links: where the descriptors of the tree lead, as in "pipe:[4711]".
        outside: who outside the tree has a descriptor that leads there, as (pid, open flags).
        pidfd: pid → a pidfd of it, -1 if none could be had.
        surroundings: see there.
    """

    pids: Collection[int]
    shell_job: bool = False
    links: Collection[str] = ()
    outside: Callable[[str], list[tuple[int, int]]] = lambda _link: []
    pidfd: Callable[[int], int] = lambda _pid: -1
    surroundings: Surroundings = field(default_factory=Surroundings)


@dataclass(frozen=True)
class OpenOptions:
    """How descriptions are opened.

    Attributes:
        shell_job: the tree gets our terminal.
        terminal: a descriptor of that terminal; -1: our standard input, output or error, whichever is one, else /dev/tty.
        ending: processes that will have ended before `open_descriptions` (restore --replace): what they hold is no hindrance.
    """

    shell_job: bool = False
    terminal: int = -1
    ending: frozenset[int] = frozenset()


class DescriptorKind(ABC):
    """One kind of open file description. Stateless: one instance stands in the table of `core/kinds/table.py`.

    Attributes:
        name: in the field's words.
        type: its number in `fd_types`.
        field: which field of `file_entry` holds its record.
        images: those it reads and writes beside its record, as in "pipes-data".
        kept: what the supplement may have of it → which values that can have.
        made_in_task: it can only be made by a task that has the numbers it `watches`, and not by the restorer.
        remade: it is made once more when the processes exist, see `remake`; it always `shares` an object.
        shared_fds: descriptors that the object behind it needs in the restorer while it is being opened.
    """

    name: str
    type: fd_types
    field: str
    images: tuple[str, ...] = ()
    kept: Mapping[str, Rule] = MappingProxyType({})
    made_in_task = False
    remade = False
    shared_fds = 0

    # -- dump --------------------------------------------------------------------------------------------------------------------------

    @abstractmethod
    def recognise(self, raw: RawFd) -> bool:
        """Whether *raw* is one. Called inside the freeze: looks only at link and mode."""

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """Why this one cannot be saved, found without touching the target; None if nothing is known against it."""

    def capture_key(self, raw: RawFd) -> Hashable | None:
        """Descriptions with the same key are captured once and share what was captured; None: each for itself."""

    def surroundings(self) -> Any:
        """What `capture` is to be given for each of them. Inside the freeze, once."""

    def capture(self, holders: Holders, pidfd: int, around: Any) -> Any:
        """Inside the freeze: take what /proc does not show, quickly.

        *pidfd* is of the first holder's process, *around* what `surroundings` said. Descriptors in the result are closed by `release`.
        """

    def capture_together(self, extras: Sequence[Any]) -> None:
        """Inside the freeze, when `capture` has returned all of *extras*: what is better taken of many at once."""

    def held(self, extra: Any) -> Sequence[int]:
        """Of what `capture` returned: descriptors of ours for the descriptions that this one holds. They are captured too, and closed
        before the thaw.
        """
        return ()

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """Why what was captured cannot be saved: what only the freeze shows. Called after the thaw."""

    def late_blockers(self, files: Sequence[CapturedFile]) -> Iterable[Blocker]:
        """Likewise, what only all captured descriptions of this kind together show."""
        return ()

    def late_notes(self, file: CapturedFile, pids: Collection[int]) -> Iterable[str]:
        """What will be different after a restore of the tree *pids*, as sentences. Called after the thaw."""
        return ()

    def supplement(self, file: CapturedFile) -> Values:
        """What its record has no field for; `make` is told it again by `Opening.supplement`."""
        return {}

    def release(self, extra: Any) -> None:
        """Let go of what `capture` returned."""

    @abstractmethod
    def save(self, file: CapturedFile, ident: int, saving: "Saving") -> file_entry:
        """Its record, and whatever else it puts into *saving*. Called after the thaw."""

    # -- its records, on any machine ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def damage(self, record: Any) -> Iterator[str]:
        """What its record says and cannot be, as in "has the offset 0x…"."""

    def unsupported(self, record: Any) -> Iterator[str]:
        """What is whole, and not rebuilt."""
        yield from ()

    def layer_damage(self, layer: LayerFiles, tables: Tables) -> Iterator[tuple[str, str]]:
        """What cannot be of all descriptions of a layer together, and in `images`: name of the file, and a sentence.

        *tables*: of the tasks whose table could be read.
        """
        yield from ()

    # -- restore -----------------------------------------------------------------------------------------------------------------------

    def shares(self, entry: file_entry) -> Key | None:
        """The object behind this description, if others may have it, too: the restorer lets go of it when all of them are open."""

    def needs(self, entry: file_entry, layer: "Records") -> Iterable[int]:
        """Ids of other descriptions that this one holds, whether or not a task has a number for them: what is in flight in its queue."""
        return ()

    def own_files(self, entry: file_entry) -> Collection[int]:
        """Ids of regular-file entries that are part of its record: checked by `plan`, and by nobody else."""
        return ()

    @abstractmethod
    def plan(self, entry: file_entry, opening: "Opening") -> Blocker | None:
        """Why this description could not be rebuilt here and now; changes nothing."""

    @abstractmethod
    def make(self, entry: file_entry, opening: "Opening") -> int:
        """Open it in the restorer, close-on-exec, and return the descriptor. Never called if it is `made_in_task`.

        Raises:
            OSError, ImageError: it cannot be; the caller names the description.
        """

    def connect(self, entry: file_entry, opening: "Opening") -> None:
        """In the restorer, after all descriptions were made there. Raises as `make`."""

    def before_run(self, opening: "Opening", groups: Collection[int]) -> None:
        """The last thing before a tree runs that has any of this kind and gets our terminal; *groups*: its process groups."""

    def owner_and_flags(self, entry: file_entry, opening: "Opening") -> tuple[fown_entry, int]:
        """Who gets SIGIO, and the flags of the description."""
        record = getattr(entry, self.field)
        return record.fown, int(record.flags)

    # -- restore, when the processes exist ----------------------------------------------------------------------------------------------

    def author(self, key: Key, opening: "Opening") -> int:
        """The process that the object *key* says it was made by; 0 if it may be the restorer."""
        return 0

    def remake(self, key: Key, author: "TaskHands | None", opening: "Opening") -> Mapping[int, int]:
        """Make the object once more, in *author* or here: file id → descriptor here, of every description that `shares` it.

        None of its tasks has a descriptor yet. The caller owns what is returned. Raises as `make`.
        """
        raise NotImplementedError

    def fill(self, entry: file_entry, opening: "Opening") -> None:
        """In the restorer, after all were remade: what names processes. Raises as `make`."""

    # -- restore, made in a task -------------------------------------------------------------------------------------------------------

    def watches(self, entry: file_entry) -> Collection[int]:
        """Numbers that the task which makes it must have."""
        return ()

    def rehearse(self, makers: Mapping[int, tuple[int, int]], opening: "Opening") -> None:
        """Try in the restorer what tasks will be made to do. *makers*: file id → which task makes it, and as which number.

        Raises:
            RefusedError: it cannot be done here.
        """

    def make_in_task(self, entry: file_entry, calls: CallList, number: int, about: str) -> None:
        """Append the call that makes it, close-on-exec; *number* is the lowest that is free."""

    def connect_in_task(self, entry: file_entry, calls: CallList, number: int) -> None:
        """Append the calls that follow when all numbers of the task are in their places. It is *number*."""


class Saving(ABC):
    """What a kind may add to the images beside its own record."""

    @abstractmethod
    def ident(self, file: CapturedFile) -> int:
        """The id of another description, saved or to be saved."""

    @abstractmethod
    def once(self, key: Key, make: Callable[[], int]) -> int:
        """The id of the object behind a description, which *make* chooses and records the first time."""

    @abstractmethod
    def put(self, image: str, record: Message, content: bytes | None = None) -> None:
        """Append a record, and what follows it, to *image*, as in "pipes-data"."""

    @abstractmethod
    def count(self, image: str) -> int:
        """How many records *image* has."""

    @abstractmethod
    def named_file(self, raw: RawFd) -> int:
        """The id of a new regular-file entry for the path of *raw* (a terminal has its record and this one)."""


class Records(Protocol):
    """Where records come from: a layer, or an `Opening` of one."""

    def records(self, image: str, /) -> Sequence[tuple[Any, bytes]]:
        """The records of an image with what follows each; none if there is no such image."""
        ...


class TaskHands(ABC):
    """A process of the tree that does what only it can."""

    pid: int

    @abstractmethod
    def run(self, calls: CallList) -> None:
        """Make calls in it. Raises as `attach.calls.Inside.run`."""

    @abstractmethod
    def fetch(self, fd: int) -> int:
        """A copy here of its descriptor *fd*, close-on-exec. Raises `NativeError`."""


class Opening(ABC):
    """What a kind may use while descriptions are opened in the restorer."""

    options: OpenOptions

    @abstractmethod
    def records(self, image: str, /) -> Sequence[tuple[Any, bytes]]:
        """See `Records`."""

    @property
    @abstractmethod
    def pids(self) -> Collection[int]:
        """The living tasks of the layer."""

    @abstractmethod
    def notice(self, sentence: str) -> None:
        """Something is not as it was: the user is told once the tree runs."""

    @abstractmethod
    def sharers(self, key: Key) -> Sequence[file_entry]:
        """All descriptions that `DescriptorKind.shares` gives that key for."""

    @abstractmethod
    def once(self, key: Key, make: Callable[[], T], release: Callable[[T], None]) -> T:
        """The object *key* in the restorer, made the first time; released when all its sharers are open, or when all is done."""

    @abstractmethod
    def supplement(self, ident: int) -> Values:
        """What the supplement has of file *ident*."""

    @abstractmethod
    def entry(self, ident: int) -> file_entry:
        """Another record. Raises `ImageError` if there is none."""

    @abstractmethod
    def fd(self, ident: int) -> int:
        """Where description *ident*, which was made, is open in the restorer."""

    @abstractmethod
    def name(self, ident: int) -> str:
        """Description *ident* in words, with the first descriptor that uses it."""

    @abstractmethod
    def numbers(self, pid: int) -> Mapping[int, int]:
        """The table of a task: number → file id."""


class KindTable:
    """All kinds, in the order in which they are asked."""

    def __init__(self, kinds: Sequence[DescriptorKind], unknown: Callable[[RawFd], Blocker]) -> None:
        """*unknown*: what is said of a descriptor that is of none of them."""
        self._kinds = tuple(kinds)
        self.unknown = unknown

    def __iter__(self) -> Iterator[DescriptorKind]:
        return iter(self._kinds)

    def of(self, raw: RawFd) -> DescriptorKind | None:
        """The kind of a descriptor, or None."""
        if raw.link.startswith(_MEMORY):
            return None
        return next((kind for kind in self._kinds if kind.recognise(raw)), None)

    def held_by(self, entry: file_entry, layer: Records) -> Iterable[int]:
        """`DescriptorKind.needs` of a record of whatever kind."""
        kind = self.of_entry(entry)
        return kind.needs(entry, layer) if kind else ()

    def of_entry(self, entry: file_entry) -> DescriptorKind | None:
        """The kind of a record, or None."""
        return next((kind for kind in self._kinds if kind.type == entry.type and entry.HasField(kind.field)), None)


# Links of memory and kernel objects that would pass for files by their mode.
_MEMORY = ("/memfd:", "/secretmem", "/dmabuf:", "/SYSV", "/anon_hugepage", "/[aio]")
