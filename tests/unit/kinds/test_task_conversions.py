"""Conversions of single kinds, without a process: what goes in comes out, and damaged input is refused."""

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.attach.calls import CallList, DataRef
from lamina.core.errors import TargetError
from lamina.core.image.schema import core_entry, fs_entry, mm_entry, posix_timer_entry, task_kobj_ids_entry, task_rlimits_entry
from lamina.core.kinds.task import ids, itimers, posix_timers, rlimits
from lamina.core.kinds.task.posix_timers import PosixTimer
from lamina.core.kinds.task.signals import SIGNALS, SharedQueue, SignalActions
from lamina.core.kinds.thread import comm, creds, registrations, sched
from lamina.core.kinds.thread.registrations import AlternateStack, RestartableSequences, RobustList
from lamina.core.kinds.thread.signals import PrivateQueue
from lamina.core.objects.task_kind import CapturedThread, TaskImages, TaskKind, TaskRecord, ThreadKind, ThreadRecord

T = TypeVar("T")
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
SECONDS = st.integers(0, 2**40)


def data(calls: CallList, at: object, size: int) -> bytes:
    assert isinstance(at, DataRef)
    return calls.output(at, size)


class NoFiles:
    """A path table that is not asked."""

    def path(self, path: str, flags: int = 0) -> int:
        raise NotImplementedError

    def shared_memory(self, dev: str, inode: int) -> int:
        raise NotImplementedError


def task_with(kind: TaskKind[T], value: T) -> TaskRecord:
    """What *kind* has saved, encoded and decoded."""
    core = core_entry(mtype=core_entry.X86_64)
    kind.save(value, TaskImages(core, mm_entry(), fs_entry(), task_kobj_ids_entry(), NoFiles()))
    return TaskRecord(100, (100,), core_entry.FromString(core.SerializePartialToString()))


def thread_with(kind: ThreadKind[T], value: T) -> ThreadRecord:
    """The same of a thread."""
    core = core_entry(mtype=core_entry.X86_64)
    core.thread_core.futex_rla, core.thread_core.futex_rla_len = 0, 0
    kind.save(value, core)
    core = core_entry.FromString(core.SerializePartialToString())
    return ThreadRecord(101, core, TaskRecord(100, (100, 101), core))


@given(st.tuples(U64, U64, U64, U64))
def test_sigactions(action: tuple[int, int, int, int]) -> None:
    raw = struct.pack("<4Q", *action)
    kind, calls = SignalActions(), CallList()
    kind.rebuild(task_with(kind, dict.fromkeys(SIGNALS, raw)), calls)
    assert [call.args[0] for call in calls.calls] == [n for n in range(1, 65) if n not in (9, 19)]
    assert all(data(calls, call.args[1], 32) == raw for call in calls.calls)


@given(st.lists(st.tuples(st.sampled_from([1, 10, 17, 34, 64]), st.binary(min_size=124, max_size=124)), max_size=8))
def test_queued_signals(signals: list[tuple[int, bytes]]) -> None:
    raw = [struct.pack("<i", number) + rest for number, rest in signals]
    private, shared = CallList(), CallList()
    PrivateQueue().rebuild(thread_with(PrivateQueue(), tuple(raw)), private)
    SharedQueue().rebuild(task_with(SharedQueue(), tuple(raw)), shared)
    assert [data(private, call.args[3], 128) for call in private.calls] == raw
    assert [call.args[:3] for call in private.calls] == [(100, 101, number) for number, _ in signals]
    assert [call.args[:2] for call in shared.calls] == [(100, number) for number, _ in signals]


@given(U64, U64, st.sampled_from([0, 1, 2, 1 << 31, 1 << 31 | 1]))
def test_altstack(sp: int, size: int, flags: int) -> None:
    kind, calls = AlternateStack(), CallList()
    kind.rebuild(thread_with(kind, (sp, size, flags)), calls)
    if flags == registrations.SS_DISABLE:
        assert not calls.calls
    else:
        assert struct.unpack("<QIxxxxQ", data(calls, calls.calls[0].args[0], 24)) == (sp, flags & ~1, size)


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS), min_size=3, max_size=3))
def test_itimers(timers: list[itimers.Itimer]) -> None:
    kind, calls = itimers.IntervalTimers(), CallList()
    kind.rebuild(task_with(kind, timers), calls)
    # Nothing left of a periodic timer: its signal is queued (see the next test).
    full = [timer if timer[2] or timer[3] else (*timer[:2], *timer[:2]) for timer in timers]
    armed = {number: timer for number, timer in enumerate(full) if timer[2] or timer[3]}
    assert {call.args[0]: struct.unpack("<4Q", data(calls, call.args[1], 32)) for call in calls.calls} == armed


TIMER = PosixTimer(id=1, clock=1, signal=34, notify=4, value=2**64 - 1, thread=7, interval=1_500_000_000, left=999_999_999, overrun=3)
TIMERS_TEXT = """\
ID: 1
signal: 34/ffffffffffffffff
notify: signal/tid.7
ClockID: 1
ID: 4
signal: 0/0000000000000000
notify: none/pid.7
ClockID: -6
"""


def test_posix_timers_are_read_from_their_text() -> None:
    one, two = posix_timers.parse(TIMERS_TEXT)
    assert one == replace(TIMER, interval=0, left=0, overrun=0)
    assert two == PosixTimer(id=4, clock=-6, signal=0, notify=1, value=0, thread=0)
    assert posix_timers.parse("") == ()
    with pytest.raises(TargetError, match="unknown text"):
        posix_timers.parse(TIMERS_TEXT + "ID: 5\nsomething new\n")


def test_posix_timers_keep_their_ids() -> None:
    saved = posix_timers.entries_of([TIMER, replace(TIMER, id=3, clock=-6, notify=0, thread=0)])
    entries = [posix_timer_entry.FromString(e.SerializeToString()) for e in saved]
    calls = CallList()
    posix_timers.create(entries, calls)
    made = [struct.unpack("<i", data(calls, call.args[2], 4))[0] for call in calls.calls if call.name == "timer_create"]
    assert made == [0, 1, 2, 3]
    assert [call.args[0] for call in calls.calls if call.name == "timer_delete"] == [0, 2]
    clocks = [call.args[0] for call in calls.calls if call.name == "timer_create"]
    assert clocks[1] == 1
    assert clocks[3] == -6
    settime = [call for call in calls.calls if call.name == "timer_settime"]
    assert struct.unpack("<4q", data(calls, settime[0].args[2], 32)) == (1, 500_000_000, 0, 999_999_999)


def test_a_far_timer_id_is_not_counted_up_to() -> None:
    calls = CallList()
    posix_timers.create(posix_timers.entries_of([replace(TIMER, id=1_000_000)]), calls)
    assert len(calls.calls) == 4


@given(st.dictionaries(st.integers(0, 15), st.tuples(U64, U64), min_size=16, max_size=16))
def test_rlimits(limits: dict[int, tuple[int, int]]) -> None:
    entry = task_rlimits_entry.FromString(rlimits.entry_of(limits).SerializeToString())
    assert rlimits.load(entry) == limits
    calls, ours = CallList(), rlimits.read(0)
    record = task_with(rlimits.ResourceLimits(), limits)
    record.pid = os.getpid()
    rlimits.ResourceLimits().rebuild(record, calls)
    got = {call.args[1]: struct.unpack("<2Q", data(calls, call.args[2], 16)) for call in calls.calls}
    assert got == {number: limit for number, limit in limits.items() if limit != ours[number]}


def test_a_hard_limit_above_ours_blocks() -> None:
    ours = dict.fromkeys(range(16), (10, 10))
    wanted = rlimits.entry_of({**ours, 8: (10, rlimits.INFINITY)})
    (found,) = rlimits.above(wanted, ours, raising=False)
    assert "RLIMIT_MEMLOCK" in found.obj
    assert "unlimited" in found.why
    assert not rlimits.above(wanted, ours, raising=True)
    assert not rlimits.above(rlimits.entry_of({**ours, 7: (1, 9)}), ours, raising=False)
    (found,) = rlimits.above(rlimits.entry_of({**ours, 7: (1, rlimits.INFINITY)}), ours, raising=True)
    assert "nr_open" in found.fix, "nobody may have so many descriptors"


def test_limits_that_are_missing_in_the_text() -> None:
    with pytest.raises(TargetError, match="15 of 16"):
        text = Path("/proc/self/limits").read_text()
        rlimits.parse(text.replace("Max open files", "Max xxxx xxxxx"))


@given(U64, U32, st.one_of(st.none(), st.tuples(st.integers(1, 2**64 - 1), U32, U32)))
def test_robust_list_and_rseq(head: int, length: int, registered: tuple[int, int, int] | None) -> None:
    calls = CallList()
    RobustList().rebuild(thread_with(RobustList(), (head, length)), calls)
    RestartableSequences().rebuild(thread_with(RestartableSequences(), registered), calls)
    wanted = [(head, length)] if head else []
    assert [call.args for call in calls.calls if call.name == "set_robust_list"] == wanted
    wanted_rseq = [(registered[0], registered[1], 0, registered[2])] if registered else []
    assert [call.args for call in calls.calls if call.name == "rseq"] == wanted_rseq


@given(st.binary(max_size=15).filter(lambda raw: b"\0" not in raw))
def test_a_name_need_not_be_text(raw: bytes) -> None:
    name = comm.Name()
    assert comm.of(thread_with(name, raw).core) == raw


@given(st.integers(-20, 19), st.sampled_from([0, 1, 2, 3, 5]), st.integers(0, 99))
def test_sched(nice: int, policy: int, priority: int) -> None:
    core = thread_with(sched.Scheduling(), (policy, priority, nice)).core.thread_core
    assert (core.sched_policy, core.sched_prio, core.sched_nice) == (policy, priority, nice)


def test_deadline_scheduling_is_refused() -> None:
    kind, thread = sched.Scheduling(), CapturedThread(7)
    (found,) = kind.late_blockers((6, 0, 0), thread)
    assert "policy 6" in found.obj
    assert not [*kind.late_blockers((1 | sched.SCHED_RESET_ON_FORK, 5, 0), thread)]


STATUS = {
    "Uid": "1000\t0\t1001\t1002", "Gid": "5\t6\t7\t8", "Groups": "4 20", "CapInh": "0000000000000001", "CapPrm": "000001ffffffffff",
    "CapEff": "0000000000000003", "CapBnd": "000001fffeffffff", "CapAmb": "0000000000000001", "NoNewPrivs": "1",
}  # fmt: skip


def test_credentials_of_a_status() -> None:
    entry = creds.of_status(STATUS, secbits=0x10)
    assert (entry.uid, entry.euid, entry.suid, entry.fsuid) == (1000, 0, 1001, 1002)
    assert (entry.gid, entry.egid, entry.sgid, entry.fsgid) == (5, 6, 7, 8)
    assert list(entry.groups) == [4, 20]
    assert creds.caps(entry) == {"inh": 1, "prm": 0x1FF_FFFF_FFFF, "eff": 3, "bnd": 0x1FF_FEFF_FFFF, "amb": 1}
    assert list(entry.cap_bnd) == [0xFEFF_FFFF, 0x1FF]
    assert (entry.secbits, entry.no_new_privs) == (0x10, 1)


def test_credentials_we_cannot_give_block() -> None:
    full = creds.of_status(STATUS)
    weak = creds.of_status({**STATUS, "CapPrm": "0", "CapEff": "0", "CapInh": "0", "CapAmb": "0"})
    assert not creds.lacking(full, full)
    reasons = " ".join(str(blocker) for blocker in creds.lacking(full, weak))
    assert "CAP_CHECKPOINT_RESTORE" in reasons
    other_user = creds.of_status({**STATUS, "CapPrm": "0", "CapEff": "0", "Uid": "1 1 1 1"})
    assert "CAP_SETUID" in " ".join(str(blocker) for blocker in creds.lacking(other_user, weak))


def test_equal_credentials_need_no_call_but_no_new_privs() -> None:
    entry = creds.of_status(STATUS)
    calls = CallList()
    creds.change(entry, entry, calls)
    assert [call.args[0] for call in calls.calls] == [creds.PR_SET_NO_NEW_PRIVS]


def test_ids_are_stable_and_namespaces_ours() -> None:
    table = ids.IdTable()
    one, two = table.of(10), table.of(20)
    assert one.files_id != two.files_id
    assert table.of(10) == one
    assert one.pid_ns_id == two.pid_ns_id == table.root().pid_ns_id
    assert one.vm_id != table.root().vm_id


def test_a_periodic_timer_whose_signal_is_still_queued_goes_on() -> None:
    saved = task_with(itimers.IntervalTimers(), ((0, 20_000, 0, 0), (0, 0, 0, 0), (1, 5, 0, 7))).tc.timers
    assert (saved.real.vsec, saved.real.vusec) == (0, 20_000)
    assert not saved.virt.vsec and not saved.virt.vusec
    assert (saved.prof.isec, saved.prof.iusec, saved.prof.vsec, saved.prof.vusec) == (1, 5, 0, 7)
