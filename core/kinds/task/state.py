"""What a process is: alive or ended and how, its personality, whether it adopts orphans, which membarrier(2) commands it registered for."""

from collections.abc import Iterable, Iterator
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Stat
from lamina.core.errors import Blocker
from lamina.core.image.format import TaskState
from lamina.core.image.records.limits import SIGNALS
from lamina.core.image.schema import core_entry
from lamina.core.objects.prctl import ask_int
from lamina.core.objects.task_kind import Answer, Asking, CapturedTask, Stage, TaskImages, TaskKind, TaskLook, TaskRecord

# Signals whose default is not to end a process (signal(7)): CHLD CONT STOP TSTP TTIN TTOU URG WINCH.
_NOT_DEADLY: Final = frozenset({17, 18, 19, 20, 21, 22, 23, 28})
_PERSONALITY: Final = 0x0FFF_FFFF
_PAGE_ZERO: Final = 0x0010_0000  # sealed since Linux 6.14 (mseal(2)): exec maps it, and nothing can take it away
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_GET_REGISTRATIONS: Final = 1 << 9
REGISTRATIONS: Final = (1 << 2, 1 << 4, 1 << 6, 1 << 8)
"""Global expedited, private expedited, the same with core serialisation, the same with rseq (linux/membarrier.h)."""


class State(TaskKind[int]):
    """The kernel's flags (PF_*) of it, and that it lives. A process that has ended has its wait(2) status."""

    name = "state"
    of_zombies = True

    def blockers(self, look: TaskLook) -> Iterable[Blocker]:
        """A stop by a signal goes with the process."""
        if look.stat.state == "T":
            yield look.blocker("stopped by a signal: not supported yet", f"let it go on: kill -CONT {look.pid}")

    def read(self, seen: CapturedTask) -> int:
        """Of stat."""
        return seen.stat.flags

    def save(self, value: int, images: TaskImages) -> None:
        """Alive."""
        images.tc.task_state, images.tc.exit_code, images.tc.flags = TaskState.ALIVE, 0, value

    def save_zombie(self, stat: Stat, core: core_entry) -> None:
        """What is required of it although it says nothing, too."""
        tc = core.tc
        tc.task_state, tc.exit_code, tc.flags = TaskState.DEAD, stat.exit_code, stat.flags
        tc.personality, tc.blk_sigset = 0, 0

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """A state, and for one that ended an end."""
        tc = record.tc
        if tc.task_state not in set(TaskState):
            yield f"its state is {tc.task_state}, which is unknown"
        if record.is_zombie and not _is_end(tc.exit_code):
            yield f"it had ended with {tc.exit_code:#x}, which is no status of an ended process"

    def unsupported(self, record: TaskRecord) -> Iterator[str]:
        """criu can."""
        if record.tc.task_state == TaskState.STOPPED:
            yield "it was stopped, which is not supported"


def _is_end(status: int) -> bool:
    """A status as wait(2) gives it: exited with a code, or ended by a signal that ends, perhaps with a core file."""
    number = status & 0x7F
    if not number:
        return not status & ~0xFF00
    return not status & ~0xFF and number <= SIGNALS and number not in _NOT_DEADLY


class Personality(TaskKind[int]):
    """personality(2). Whoever makes the process sets it before its exec."""

    name = "personality"
    texts = ("personality",)

    def read(self, seen: CapturedTask) -> int:
        """In hex."""
        return int(seen.texts["personality"], 16)

    def save(self, value: int, images: TaskImages) -> None:
        """Into the task's part."""
        images.tc.personality = value

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """28 bits."""
        if record.tc.personality & ~_PERSONALITY:
            yield f"its personality is {record.tc.personality:#x}"

    def unsupported(self, record: TaskRecord) -> Iterator[str]:
        """Page 0."""
        if record.tc.personality & _PAGE_ZERO:
            yield "its personality has page 0 mapped (MMAP_PAGE_ZERO), which is not supported"


class ChildSubreaper(TaskKind[int]):
    """Whether it adopts orphans below it (PR_SET_CHILD_SUBREAPER)."""

    name = "child subreaper"
    stage = Stage.PROCESS

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """0 or 1."""
        return ask_int(calls, _PR_GET_CHILD_SUBREAPER, "read the child-subreaper flag")

    def save(self, value: int, images: TaskImages) -> None:
        """Into the task's part."""
        images.tc.child_subreaper = bool(value)

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """After its children were made, so that a child that dies half-built goes to our own reaper."""
        if record.tc.child_subreaper:
            calls.add("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, expect=0, about="make it adopt orphans")


class Membarrier(TaskKind[int]):
    """MEMBARRIER_CMD_REGISTER_* bits; 0 on a kernel before 6.3, which cannot tell. Unregistered commands would fail with EPERM."""

    name = "membarrier"
    stage = Stage.PROCESS

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Any thread will do."""
        call = calls.add("membarrier", _GET_REGISTRATIONS, 0, 0, any_result=True)
        return lambda: max(call.result, 0)

    def save(self, value: int, images: TaskImages) -> None:
        """If there is one."""
        if value:
            images.tc.membarrier_registration_mask = value

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """Only known ones."""
        if unknown := record.tc.membarrier_registration_mask & ~sum(REGISTRATIONS):
            yield f"its membarrier registrations {unknown:#x} are unknown"

    def rebuild(self, record: TaskRecord, calls: CallList) -> None:
        """Before threads are made: registering a task of one thread is cheap, of many it waits for every processor."""
        for command in REGISTRATIONS:
            if record.tc.membarrier_registration_mask & command:
                calls.add("membarrier", command, 0, 0, expect=0, about=f"register for membarrier command {command:#x}")
