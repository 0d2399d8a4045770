"""What every kind of descriptor has in common: how a descriptor is seen from outside, and what a kind must know to save and rebuild one.

A *descriptor* is a number in a task's table; what it names is an *open file description* (open(2)), which dup, fork and SCM_RIGHTS share.
Kinds save and rebuild descriptions; numbers are `descriptors.py`'s and `install.py`'s business.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from lamina.core.errors import Blocker
from lamina.core.image.schema import eventpoll_file_entry, fd_types, file_entry, fown_entry
from lamina.core.image.supplement import Values
from lamina.core.objects.rawfd import Holders, RawFd


@dataclass(frozen=True)
class CapturedFile:
    """One open file description, as captured in the freeze.

    Attributes:
        holders: every descriptor of it in the tree, in tree order.
        kind: what it is.
        extra: what its kind captured.
    """

    holders: "Holders"
    kind: "DescriptorKind"
    extra: Any = None

    @property
    def raw(self) -> RawFd:
        """The first of its descriptors: what is the description's is the same in all."""
        return self.holders[0]


@dataclass(frozen=True)
class TreeView:
    """What a kind may ask about the tree.

    Attributes:
        pids: the tree.
        shell_job: `--shell-job` was given.
        pipe_holders: inode → who outside the tree holds that pipe, as (pid, open flags).
        pidfd: pid → a pidfd of it, -1 if none could be had.
    """

    pids: Collection[int]
    shell_job: bool = False
    pipe_holders: Callable[[int], list[tuple[int, int]]] = lambda _inode: []
    pidfd: Callable[[int], int] = lambda _pid: -1


class DescriptorKind(ABC):
    """One kind of open file description. Stateless: one instance stands in the table of `descriptors.py`.

    Attributes:
        name: in the field's words.
        type: its number in `fd_types`.
        field: which field of `file_entry` holds its record.
    """

    name: str
    type: fd_types
    field: str

    @abstractmethod
    def recognise(self, raw: RawFd) -> bool:
        """Whether *raw* is one. Called inside the freeze: looks only at link and mode."""

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """Why this one cannot be saved, found without touching the target; None if nothing is known against it."""

    def capture_key(self, raw: RawFd) -> object:
        """Descriptions with the same key are captured once and share what was captured; None: each for itself."""

    def capture(self, holders: Holders, pidfd: int) -> Any:
        """Inside the freeze: take what /proc does not show, quickly.

        *pidfd* is of the first holder's process. Descriptors in the result are closed by `release`.
        """

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """Why what was captured cannot be saved: what only the freeze shows. Called after the thaw."""

    def supplement(self, file: CapturedFile) -> Values:
        """What its record has no field for; `rebuild` is told it again by `Opening.supplement`."""
        return {}

    def release(self, extra: Any) -> None:
        """Let go of what `capture` returned."""

    @abstractmethod
    def save(self, file: CapturedFile, ident: int, saving: "Saving") -> file_entry:
        """Its record, and whatever else it puts into *saving*. Called after the thaw."""

    @abstractmethod
    def plan(self, entry: file_entry, opening: "Opening") -> Blocker | None:
        """Why this description could not be rebuilt here and now; changes nothing."""

    @abstractmethod
    def rebuild(self, entry: file_entry, opening: "Opening") -> int:
        """Open it in the restorer, close-on-exec, and return the descriptor.

        Raises:
            OSError, ImageError: it cannot be; the caller names the description.
        """

    def owner(self, entry: file_entry) -> fown_entry:
        """Who gets SIGIO."""
        found = getattr(entry, self.field).fown
        assert isinstance(found, fown_entry)
        return found

    def inside(self, entry: file_entry) -> eventpoll_file_entry | None:
        """For what can only be made inside the task (an epoll, whose targets are numbers in that table): its record."""


class Saving(ABC):
    """What a kind may add to the images beside its own record."""

    @abstractmethod
    def reg(self, raw: RawFd) -> int:
        """The id of a new regular-file entry for the path of *raw* (a terminal has its record and this one)."""

    @abstractmethod
    def pipe(self, inode: int, size: int, content: bytes) -> int:
        """The id of a pipe; its size and content are recorded once."""

    @abstractmethod
    def terminal(self, key: int, make: Callable[[int], Any]) -> int:
        """The id of a tty-info record, made by *make* (given the id) for the first descriptor of terminal *key*."""


class Opening(ABC):
    """What a kind may use while descriptions are opened in the restorer."""

    shell_job: bool
    ending: frozenset[int]

    @abstractmethod
    def pipe_data(self, pipe_id: int) -> tuple[int, bytes]:
        """Size and content of a pipe; size 0 if not recorded."""

    @abstractmethod
    def pipe_ends(self, pipe_id: int, make: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """Both ends of a pipe in the restorer, made by *make* the first time; closed when all is open."""

    @abstractmethod
    def supplement(self, ident: int) -> Values:
        """What the supplement has of file *ident*."""

    @abstractmethod
    def claim(self, end: int) -> bool:
        """Whether this end of a pipe is asked for the first time: then its description may be handed out itself."""

    @abstractmethod
    def pipe_entries(self, pipe_id: int) -> list[Any]:
        """All `pipe_entry` records of a pipe."""

    @abstractmethod
    def terminal(self) -> int:
        """A descriptor of the terminal the tree gets, -1 if there is none."""
