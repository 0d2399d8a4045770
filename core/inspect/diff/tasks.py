"""Tasks of two sides: new, gone, and changed: threads, state, name, directories, registers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Thread:
    """One thread.

    Attributes:
        tid: its id.
        comm: its name.
        registers: general purpose ones by name; empty if not known (a running process is not stopped to ask).
        vectors: what tells one state of its floating point and vector registers from another; b"" if not known.
    """

    tid: int
    comm: str
    registers: Mapping[str, int] = field(default_factory=dict)
    vectors: bytes = b""


@dataclass(frozen=True)
class Task:
    """One process.

    Attributes:
        pid, ppid, pgid, sid: as ps(1) names them.
        comm: its name, which is its leader's.
        state: "alive", "stopped", "ended" (a zombie); "" if nothing but its memory is known (a pre-dump).
        exe, cwd, root: paths; "" if not known.
        threads: the leader first.
    """

    pid: int
    ppid: int = 0
    pgid: int = 0
    sid: int = 0
    comm: str = ""
    state: str = "alive"
    exe: str = ""
    cwd: str = ""
    root: str = ""
    threads: tuple[Thread, ...] = ()


@dataclass(frozen=True)
class FieldChange:
    """One thing that differs: its name, and its value on both sides."""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class ThreadChange:
    """A thread that both sides have.

    Attributes:
        tid: its id on side b.
        comm: its new name, or None.
        registers: those that differ, by name: (a, b).
        vectors: whether floating point or vector registers differ.
    """

    tid: int
    comm: FieldChange | None
    registers: Mapping[str, tuple[int, int]]
    vectors: bool


@dataclass(frozen=True)
class TaskChange:
    """A task that both sides have, and in which something differs.

    Attributes:
        pid: its id on side b; pid_a: on side a.
        fields: what of it differs: "comm", "state", "ppid", "exe", …
        threads_added, threads_gone, threads: its threads.
    """

    pid: int
    pid_a: int
    fields: tuple[FieldChange, ...]
    threads_added: tuple[Thread, ...]
    threads_gone: tuple[Thread, ...]
    threads: tuple[ThreadChange, ...]


@dataclass(frozen=True)
class TaskDiff:
    """The tasks of both sides.

    Attributes:
        added, gone: tasks of one side only.
        changed: of those that both have, the ones in which something differs; same: how many do not.
    """

    added: tuple[Task, ...]
    gone: tuple[Task, ...]
    changed: tuple[TaskChange, ...]
    same: int


def pair_tasks(a: Sequence[Task], b: Sequence[Task]) -> tuple[tuple[Task, Task], ...]:
    """Which task of *a* is which of *b*: the one of the same pid. If no pid is on both sides and the trees have one form, as in two runs of
    one program, the one at the same place.
    """
    there = {task.pid: task for task in b}
    pairs = tuple((task, there[task.pid]) for task in a if task.pid in there)
    if not pairs and [_place(task, a) for task in a] == [_place(task, b) for task in b]:
        return tuple(zip(a, b, strict=True))
    return pairs


def _place(task: Task, tasks: Sequence[Task]) -> int:
    return next((at for at, other in enumerate(tasks) if other.pid == task.ppid), -1)


def diff_tasks(a: Sequence[Task], b: Sequence[Task], pairs: Sequence[tuple[Task, Task]]) -> TaskDiff:
    """The tasks of both sides, of which *pairs* are the same ones."""
    paired_a, paired_b = {one.pid for one, _ in pairs}, {other.pid for _, other in pairs}
    changes = [diff_task(one, other) for one, other in pairs]
    return TaskDiff(
        added=tuple(task for task in b if task.pid not in paired_b),
        gone=tuple(task for task in a if task.pid not in paired_a),
        changed=tuple(change for change in changes if change is not None),
        same=changes.count(None),
    )


def diff_task(a: Task, b: Task) -> TaskChange | None:
    """What differs between one task of both sides; None if nothing does, or one side knows only its memory. Threads are the same by their
    id, leaders always.
    """
    if not a.state or not b.state:
        return None
    fields = [FieldChange(name, str(one), str(other)) for name, one, other in _fields(a, b) if one != other]
    mine = {0 if thread.tid == a.pid else thread.tid: thread for thread in a.threads}
    theirs = {0 if thread.tid == b.pid else thread.tid: thread for thread in b.threads}
    threads = [diff_thread(thread, theirs[tid]) for tid, thread in mine.items() if tid in theirs]
    change = TaskChange(
        pid=b.pid,
        pid_a=a.pid,
        fields=tuple(fields),
        threads_added=tuple(thread for tid, thread in theirs.items() if tid not in mine),
        threads_gone=tuple(thread for tid, thread in mine.items() if tid not in theirs),
        threads=tuple(thread for thread in threads if thread is not None),
    )
    return change if change.fields or change.threads_added or change.threads_gone or change.threads else None


def _fields(a: Task, b: Task) -> list[tuple[str, object, object]]:
    """What is compared. Ids are only where the task has the same pid: in another run all of them are others."""
    found: list[tuple[str, object, object]] = [("comm", a.comm, b.comm), ("state", a.state, b.state)]
    if a.pid == b.pid:
        found += [("ppid", a.ppid, b.ppid), ("pgid", a.pgid, b.pgid), ("sid", a.sid, b.sid)]
    paths = (("exe", a.exe, b.exe), ("cwd", a.cwd, b.cwd), ("root", a.root, b.root))
    return found + [(name, one, other) for name, one, other in paths if one and other]


def diff_thread(a: Thread, b: Thread) -> ThreadChange | None:
    """What differs between one thread of both sides; None if nothing does. What one side does not know is not compared."""
    registers = {name: (value, b.registers[name]) for name, value in a.registers.items() if b.registers.get(name, value) != value}
    comm = FieldChange("comm", a.comm, b.comm) if a.comm != b.comm else None
    vectors = bool(a.vectors and b.vectors and a.vectors != b.vectors)
    return ThreadChange(b.tid, comm, registers, vectors) if registers or comm or vectors else None
