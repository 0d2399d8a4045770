"""What only a target itself can be asked (docs/injection.md), as two lists of questions: for the task and for each thread.

Each question stands in the file of its kind; here they are put together. Inside the freeze: build, run, answer.
"""

from collections.abc import Sequence
from typing import TypedDict

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker, RefusedError
from lamina.core.image.supplement import Value
from lamina.core.kinds.memory import mlock, mm, pkeys
from lamina.core.kinds.task import itimers, keyring, membarrier, posix_timers, sigactions, subreaper
from lamina.core.kinds.thread import altstack, creds, landlock, pdeath, settings, thread_settings, tid_address


class TaskAnswers(TypedDict):
    """Fields of `FrozenTask`."""

    supplement: dict[str, Value]

    sigactions: dict[int, bytes]
    itimers: tuple[itimers.Itimer, ...]
    posix_timers: tuple[posix_timers.PosixTimer, ...]
    brk: int
    dumpable: int
    child_subreaper: int
    thp_disabled: int
    membarrier: int


class ThreadAnswers(TypedDict):
    """Fields of `FrozenThread`."""

    altstack: tuple[int, int, int]
    clear_tid: int
    pdeath_signal: int
    securebits: int
    supplement: dict[str, Value]


class TaskQuestions:
    """To be run in any one thread, usually the leader, together with its `ThreadQuestions`."""

    def __init__(self, calls: CallList, pid: int) -> None:
        """Append the calls that are the same at any time; `add_late` must follow."""
        self._pid = pid
        self._sigactions = sigactions.ask(calls)
        self._itimers = itimers.ask(calls)
        self._mm = mm.ask(calls)
        self._subreaper = subreaper.ask(calls)
        self._membarrier = membarrier.ask(calls)
        self._keyring = keyring.ask(calls)

    def add_late(self, calls: CallList, spare: int, timers: Sequence[posix_timers.PosixTimer]) -> None:
        """Append those that only the freeze can tell. *spare*: address of an unused page of the scratch range. *timers*: as
        `posix_timers.read` gave them inside the freeze.
        """
        self._posix_timers = posix_timers.ask(calls, timers)
        self._future = mlock.ask(calls, spare)
        self._pkeys = pkeys.ask(calls)

    def answers(self) -> TaskAnswers:
        """What the calls brought, after the run.

        Raises:
            RefusedError: something that only the inside shows cannot be held in an image.
        """
        memory = self._mm.answer()
        _refuse(f"process {self._pid}", mm.dump_blockers(memory) + self._keyring.blockers() + self._pkeys.blockers())
        future = self._future.answer()
        return TaskAnswers(
            sigactions=self._sigactions.answer(), itimers=self._itimers.answer(), posix_timers=self._posix_timers.answer(),
            brk=memory.brk, dumpable=memory.dumpable, thp_disabled=memory.thp_disabled, child_subreaper=self._subreaper.answer(),
            membarrier=self._membarrier.answer(), supplement=self._keyring.kept() | ({"mlock_future": future} if future else {}),
        )  # fmt: skip


class ThreadQuestions:
    """To be run in the thread that they are about."""

    def __init__(self, calls: CallList, tid: int, peer: int = 0) -> None:
        """Append the calls. *peer*: see `landlock.Peers`."""
        self._tid = tid
        self._landlock = landlock.ask(calls, tid, peer)
        self._altstack = altstack.ask(calls)
        self._clear_tid = tid_address.ask(calls)
        self._pdeath = pdeath.ask(calls)
        self._secbits = creds.ask(calls)
        self._settings = settings.ask(calls)
        self._thread_settings = thread_settings.Question(calls)
        self._keyrings = keyring.ask_thread(calls)

    @property
    def session_keyring(self) -> int:
        """Its serial number, after the run; below 0 if it has none."""
        return self._keyrings.session.result

    def answers(self, keyring_of_leader: int, like_leader: bool = True) -> ThreadAnswers:
        """What the calls brought, after the run. *keyring_of_leader*: `session_keyring` of its process' first thread; *like_leader*: it has
        the same credentials.

        Raises:
            RefusedError: something that only the inside shows cannot be held in an image.
        """
        confined = landlock.blockers(self._landlock) if like_leader else []
        _refuse(f"thread {self._tid}", self._settings.blockers() + self._keyrings.blockers(keyring_of_leader) + confined)
        return ThreadAnswers(
            altstack=self._altstack.answer(), clear_tid=self._clear_tid.answer(), pdeath_signal=self._pdeath.answer(),
            securebits=self._secbits.answer(), supplement=thread_settings.to_keep(self._thread_settings.answer()),
        )  # fmt: skip


def _refuse(name: str, blockers: Sequence[Blocker]) -> None:
    if blockers:
        raise RefusedError("cannot dump", name, blockers=tuple(blockers))
