"""What a kind of state that a task or a thread has, and that is no descriptor, says of itself. One file of `core/kinds/` holds all of one
kind; descriptors are in `kind.py`.

A dump comes to a kind in this order: `blockers` (nothing is touched), `ask` (before the freeze: which calls are to be made inside),
`texts`, `links`, `ask_late`, `take` (inside the freeze: what is taken, as a declaration wherever it can be one), and after the thaw `read`,
`late_blockers`, `save`, `supplement`. A restore asks `damage`, `unsupported` and `plan`, and then, at its stage, `rebuild` or `write`.
"""

from abc import ABC
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, auto
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from lamina.core.attach.calls import CallList, Inside
from lamina.core.attach.procfs import Area, Stat, parse_stat, parse_status, status_number
from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Blocker
from lamina.core.image.format import TaskState
from lamina.core.image.layer import Layer
from lamina.core.image.schema import core_entry, fs_entry, mm_entry, task_core_entry, task_kobj_ids_entry
from lamina.core.image.supplement import AreaNote, Values
from lamina.core.objects.attempt import Attempt
from lamina.core.objects.paths import PathOf, PathTable

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")
Answer = Callable[[], Any]
"""What a call inside brought, to be asked for after the run."""
CG_SET = 1
"""The one cgroup set: equal to `inventory_entry.root_cg_set`, it means lamina's own, not to be made again."""


class Stage(IntEnum):
    """When a kind puts its part back (docs/restore.md). Within a stage the order is that of the table."""

    BEFORE_CHILDREN = auto()
    """In the leader, which has just been made: its children inherit it."""
    MEMORY = auto()
    """In the leader: pages and protections are in place, no descriptor is open."""
    PROCESS = auto()
    """In the leader: its descriptors are in place."""
    ACTIONS = auto()
    """In the leader: its zombies have ended, and the signals that they left are taken away."""
    THREAD = auto()
    """In every thread at the same time."""
    SETTINGS = auto()
    """In every thread, after THREAD. What a thread has inherited is asked before (`ThreadKind.compared`)."""
    CLOCKS = auto()
    """In the leader, after all threads: timers run and limits bind from here on."""
    CREDENTIALS = auto()
    """In every thread: after this it may have no right to do anything else."""
    LAST = auto()
    """In the leader: what a change of credentials resets."""
    OUTSIDE = auto()
    """From outside, through /proc (`write`)."""
    REGISTERS = auto()
    """Into what ptrace(2) writes (`load`): the scratch range is gone, and nothing can run inside any more."""
    BEFORE_SWITCH = auto()
    """From outside (`write`), the last thing before the program runs."""


# -- dump ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskLook:
    """A task that runs, as /proc shows it: what preflight asks kinds about.

    Attributes:
        stat, tids: who it is.
        status: /proc/PID/status as it stands.
    """

    stat: Stat
    tids: Sequence[int]
    status: bytes

    @property
    def pid(self) -> int:
        """Process id."""
        return self.stat.pid

    def number(self, key: bytes) -> int:
        """A decimal field of its status; 0 if the kernel does not show it."""
        return status_number(self.status, key)

    def blocker(self, why: str, fix: str = "") -> Blocker:
        """A blocker about this process."""
        return Blocker(self.stat.comm, why, fix, self.pid)


@dataclass(frozen=True)
class ThreadLook:
    """A thread that runs. *status*: /proc/PID/task/TID/status as it stands."""

    task: TaskLook
    tid: int
    status: bytes

    def number(self, key: bytes) -> int:
        """A decimal field of its status; 0 if the kernel does not show it."""
        return status_number(self.status, key)


@dataclass(frozen=True)
class Asking:
    """Whom calls will be made in. *peer*: a process that it may look at (`kinds/thread/landlock.py`); 0: there is none."""

    pid: int
    tid: int
    peer: int = 0


@dataclass(frozen=True)
class AskingLate:
    """What only the freeze can tell of it.

    Attributes:
        texts: files of /proc/PID.
        spare: address of an unused page of the scratch range.
    """

    texts: Mapping[str, bytes]
    spare: int


class _Captured:
    """What captured threads and tasks have in common."""

    answers: Mapping[str, Answer]
    _values: dict[str, Any]

    def of(self, kind: "AttributeKind[T, Any, Any]") -> T:
        """What it has of *kind*."""
        if kind.name not in self._values:
            self._values[kind.name] = kind.read(self)
        found: T = self._values[kind.name]
        return found

    def answer(self, name: str) -> Any:
        """What the calls of kind *name* brought; None if it made none."""
        return self.answers[name]() if name in self.answers else None


@dataclass
class CapturedThread(_Captured):
    """A thread as it was taken in the freeze. What that means, kinds say after the thaw.

    Attributes:
        tid: its id.
        texts: files of /proc/PID/task/TID as they stood there; b"" for one that this kernel has not.
        answers: of the calls made inside it, by kind.
        stop: what ptrace(2) gave at the stop (`lm_thread`).
        signals: queued private signals, raw siginfo of 128 bytes each, oldest first.
    """

    tid: int
    texts: Mapping[str, bytes] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    stop: Any = None
    signals: tuple[bytes, ...] = ()
    leader: "CapturedThread | None" = None
    _values: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def status(self) -> dict[str, str]:
        """Its status as key → text."""
        return parse_status(self.texts["status"])


@dataclass
class CapturedTask(_Captured):
    """A task as it was taken in the freeze.

    Attributes:
        pid: its id.
        texts, links: files and symbolic links of /proc/PID; answers: as of a thread; taken: by kind, what `TaskKind.take` took.
        threads: the leader first; none of a zombie.
        areas: its mappings without the scratch range, ascending, with VmFlags.
        guards: guard pages in them.
        signals: queued shared signals.
    """

    pid: int
    texts: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    taken: Mapping[str, Any] = field(default_factory=dict)
    threads: tuple[CapturedThread, ...] = ()
    areas: tuple[Area, ...] = ()
    guards: PageRuns = field(default_factory=PageRuns.empty)
    signals: tuple[bytes, ...] = ()
    _values: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_zombie(self) -> bool:
        """Exited, not yet reaped by its parent."""
        return self.stat.state == "Z"

    @cached_property
    def stat(self) -> Stat:
        """/proc/PID/stat."""
        return parse_stat(self.texts["stat"])


@dataclass
class TaskImages:
    """The records that kinds of a task put theirs into.

    Attributes:
        core: the leader's, with `tc`; mm, fs, ids: one each.
        files: ids of paths.
    """

    core: core_entry
    mm: mm_entry
    fs: fs_entry
    ids: task_kobj_ids_entry
    files: PathTable

    @property
    def tc(self) -> task_core_entry:
        """The task's part of the core."""
        return self.core.tc


# -- records, and restore ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What this machine and this lamina give a restored program.

    Attributes:
        features: of the processor, as in /proc/cpuinfo.
        user_end: first address that no program has.
        capabilities: lamina's effective ones, as a mask.
    """

    features: frozenset[str]
    user_end: int
    capabilities: int


@dataclass
class TaskRecord:
    """A task in an image, and while it is being rebuilt.

    Attributes:
        pid, tids: process and thread ids, the leader first.
        core, mm, fs: its records; empty ones if the image lacks them.
        kept, of_parent: what the supplement has of it, and of its parent.
        path_of: file id → path.
        shares: "files", "fs": what it has from the one that cloned it (`image.shared_tables`).
        threads: only at restore.
    """

    pid: int
    tids: Collection[int]
    core: core_entry
    mm: mm_entry = field(default_factory=mm_entry)
    fs: fs_entry = field(default_factory=fs_entry)
    kept: Values = field(default_factory=dict)
    of_parent: Values = field(default_factory=dict)
    path_of: PathOf = str
    shares: Collection[str] = ()
    threads: "tuple[ThreadRecord, ...]" = ()
    _found: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def tc(self) -> task_core_entry:
        """The task's part of the core."""
        return self.core.tc

    @property
    def is_zombie(self) -> bool:
        """It had exited and was not yet reaped."""
        return self.core.tc.task_state == TaskState.DEAD

    def once(self, name: str, find: Callable[[], T]) -> T:
        """What *find* answers about the new process, asked the first time only: for what all its threads have in common."""
        if name not in self._found:
            self._found[name] = find()
        found: T = self._found[name]
        return found


@dataclass
class ThreadRecord:
    """A thread in an image, and while it is being rebuilt.

    Attributes:
        writable: where its process can write, as ascending spans.
        kept: what the supplement has of it.
        answers: at SETTINGS, what the new thread answers now, by kind.
        restart: the code of the system call that the dump interrupted (the sidecar's).
    """

    tid: int
    core: core_entry
    task: TaskRecord
    writable: Sequence[tuple[int, int]] = ()
    kept: Values = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    restart: int = 0

    @property
    def pid(self) -> int:
        """Its process."""
        return self.task.pid


# -- kinds ---------------------------------------------------------------------------------------------------------------------------


class AttributeKind(ABC, Generic[T, S, R]):
    """What kinds of a thread and of a task have in common. Stateless: one instance stands in the table of `core/kinds/table.py`.

    *T* is what there is of it, *S* the captured thread or task, *R* its record.

    Attributes:
        name: in the field's words; its name in the supplement, if it is kept there.
        texts: files of /proc/PID (of a thread: /proc/PID/task/TID), read inside the freeze.
        stage: when it is put back; None: `family`, memory or nobody does it.
        of_zombies: a process that has ended has it, too.
    """

    name: str
    texts: tuple[str, ...] = ()
    stage: Stage | None = None
    of_zombies = False

    def ask(self, calls: CallList, asking: Asking) -> Answer | None:
        """Append the calls that ask, to be run inside the freeze: in the thread itself, or for a task in its leader."""

    def read(self, seen: S) -> T:
        """After the thaw: what was taken, as a value. By itself, what the calls answered."""
        found: T = seen.answer(self.name)  # type: ignore[attr-defined]
        return found

    def late_blockers(self, value: T, seen: S) -> Iterable[Blocker]:
        """Why it cannot be saved: what only the freeze shows."""
        return ()

    def supplement(self, value: T) -> Values:
        """What no record has a field for, by name; nothing for defaults."""
        return {}

    def save_zombie(self, stat: Stat, core: core_entry) -> None:
        """Into the core of a process that has exited, which has nothing but `tc`."""

    def damage(self, record: R) -> Iterator[str]:
        """What its record says and cannot be, on any machine."""
        yield from ()

    def unsupported(self, record: R) -> Iterator[str]:
        """What is whole, and not rebuilt."""
        yield from ()

    def plan(self, record: R, machine: Machine) -> Iterable[Blocker]:
        """Why it could not be put back here and now; changes nothing."""
        return ()

    def rebuild(self, record: R, calls: CallList) -> Iterable[Attempt] | None:
        """At its stage: append the calls that put it back. Those that may fail are returned with what is said then."""

    def notices(self, layer: Layer) -> Iterable[str]:
        """What will be different after a restore of *layer*, as sentences."""
        return ()


class ThreadKind(AttributeKind[T, CapturedThread, ThreadRecord]):
    """A kind of state that each thread has of its own.

    Attributes:
        compared: at restore the new thread is asked, too, since it has inherited what lamina has (`ThreadRecord.answers`).
    """

    compared = False

    def blockers(self, look: ThreadLook) -> Iterable[Blocker]:
        """Why this one cannot be saved, found without touching the target."""
        return ()

    def save(self, value: T, core: core_entry) -> None:
        """Into its core; that of a leader has `tc`."""

    def load(self, record: ThreadRecord, stop: Any) -> None:
        """At REGISTERS: into what ptrace(2) writes (`lm_thread`)."""

    def write(self, threads: Sequence[ThreadRecord]) -> Iterable[str]:
        """At OUTSIDE or BEFORE_SWITCH, for all threads of a process. Returns what could not be set, as sentences."""
        return ()


class TaskKind(AttributeKind[T, CapturedTask, TaskRecord]):
    """A kind of state that all threads of a task share.

    Attributes:
        links: symbolic links of /proc/PID, read inside the freeze.
        image: which image has its record.
    """

    links: tuple[str, ...] = ()
    image: Literal["core", "mm", "fs"] = "core"

    def blockers(self, look: TaskLook) -> Iterable[Blocker]:
        """Why this one cannot be saved, found without touching the target."""
        return ()

    def prepare(self, areas: Sequence[Area]) -> Any:
        """Before the freeze: what `take` needs. *areas*: of the task as far as they are known."""

    def ask_late(self, calls: CallList, asking: AskingLate) -> Answer | None:
        """Inside the freeze: append the calls that only it can tell."""

    def take(self, prepared: Any, areas: Sequence[Area], leader: Inside) -> Any:
        """Inside the freeze: what needs calls beyond the one list. `CapturedTask.taken` has it for `read`."""

    def save(self, value: T, images: TaskImages) -> None:
        """Into the record that it belongs in."""

    def area_notes(self, value: T) -> Sequence[AreaNote]:
        """What no record has a field for, of parts of its memory."""
        return ()

    def write(self, task: TaskRecord) -> Iterable[str]:
        """At OUTSIDE or BEFORE_SWITCH. Returns what could not be set, as sentences."""
        return ()


class AttributeTable:
    """All kinds of a task and of a thread, in the order in which they are asked, saved and, within a stage, put back.

    Attributes:
        tasks, threads, all: the kinds.
        task_texts, task_links, thread_texts: what is read of /proc inside the freeze.
    """

    def __init__(self, tasks: Sequence[TaskKind[Any]], threads: Sequence[ThreadKind[Any]]) -> None:
        self.tasks = tuple(tasks)
        self.threads = tuple(threads)
        self.all: tuple[AttributeKind[Any, Any, Any], ...] = (*tasks, *threads)
        self.task_texts = tuple(dict.fromkeys(("stat", *(text for kind in tasks for text in kind.texts))))
        self.task_links = tuple(dict.fromkeys(link for kind in tasks for link in kind.links))
        self.thread_texts = tuple(dict.fromkeys(("status", *(text for kind in threads for text in kind.texts))))
        self._named = {kind.name: kind for kind in tasks}
        self._tasks_at = {stage: tuple(kind for kind in tasks if kind.stage is stage) for stage in Stage}
        self._threads_at = {stage: tuple(kind for kind in threads if kind.stage is stage) for stage in Stage}

    def task(self, name: str) -> TaskKind[Any]:
        """The kind of a task that is called *name*."""
        return self._named[name]

    def task_damage(self, record: TaskRecord, image: str) -> Iterator[str]:
        """What is wrong with one record of a process; of one that has ended only those kinds are asked that it has."""
        for kind in self.tasks:
            if kind.image == image and (kind.of_zombies or not record.is_zombie):
                yield from kind.damage(record)

    def thread_damage(self, record: ThreadRecord) -> Iterator[str]:
        """What is wrong with the core of a thread."""
        if record.core.HasField("thread_core"):
            for kind in self.threads:
                yield from kind.damage(record)
        else:
            yield "it has no part of the thread"

    def task_unsupported(self, record: TaskRecord, image: str) -> Iterator[str]:
        """What one record of a process has that is not put back."""
        for kind in self.tasks:
            if kind.image == image:
                yield from kind.unsupported(record)

    def thread_unsupported(self, record: ThreadRecord) -> Iterator[str]:
        """What the core of a thread has that is not put back."""
        for kind in self.threads:
            yield from kind.unsupported(record)

    def tasks_at(self, stage: Stage) -> Sequence[TaskKind[Any]]:
        """Those of a task that are put back then."""
        return self._tasks_at[stage]

    def threads_at(self, stage: Stage) -> Sequence[ThreadKind[Any]]:
        """Those of a thread."""
        return self._threads_at[stage]
