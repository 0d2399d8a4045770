"""In which step of a restore each kind of object is put back (docs/restore.md). The one list of kinds in this room.

The numbers are those of the sequence. Within a step the order matters where a comment says so; every kind says why in its docstring.
"""

import os
from collections.abc import Mapping

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import read_status
from lamina.core.errors import Blocker
from lamina.core.image.schema import core_entry, creds_entry, fs_entry, mm_entry
from lamina.core.image.supplement import Values
from lamina.core.kinds.memory import mlock, mm
from lamina.core.kinds.task import (
    autogroup,
    cgroups,
    coredump_filter,
    fs,
    itimers,
    keyring,
    loginuid,
    membarrier,
    oom,
    posix_timers,
    rlimits,
    sigactions,
    subreaper,
)
from lamina.core.kinds.thread import (
    altstack,
    comm,
    creds,
    pdeath,
    pending,
    registers,
    robust,
    rseq,
    sched,
    thread_settings,
    tid_address,
    unrestored,
)
from lamina.core.objects.paths import PathOf
from lamina.core.objects.setting import Wanted


def queued_signals(core: core_entry) -> list[int]:
    """Numbers of the signals that wait for this thread or, if it is the leader, for its process.

    Raises:
        ImageError: one that cannot be queued.
    """
    return [number for queue in (core.thread_core.signals_p, core.tc.signals_s) for number, _ in pending.load(queue)]


def put_back_name(core: core_entry, calls: CallList) -> None:
    """In a zombie to be; the living get theirs with `put_back_thread`."""
    comm.rebuild(core, calls)


def task_blockers(cores: Mapping[int, core_entry], pid: int, may_raise_limits: bool) -> list[Blocker]:
    """What the kinds of one process have against being restored here. *cores* by thread id, the leader first."""
    tc = cores[pid].tc
    own = creds.save(read_status(os.getpid()))
    found = rlimits.blockers(tc.rlimits, rlimits.read(0), may_raise_limits)
    for core in cores.values():
        found += registers.blockers(core)
        found += unrestored.thread_blockers(core)
        if core.thread_core.HasField("creds"):
            found += creds.blockers(core.thread_core.creds, own)
    return [Blocker(blocker.obj, blocker.why, blocker.fix, pid) for blocker in dict.fromkeys(found)]


def put_back_keyring(core: core_entry, kept: Values, of_parent: Values, pid: int, calls: CallList) -> list[Wanted]:
    """Step 6, in the leader, before its children are made."""
    return keyring.join(kept, of_parent, core.thread_core.creds, pid, calls)


def put_back_memory(memory: mm_entry, core: core_entry, pid: int, calls: CallList) -> list[Wanted]:
    """Step 9, in the leader, pages and final protections in place, its descriptor table empty."""
    mm.rebuild(memory, calls)
    return loginuid.rebuild(core.tc, pid, calls)


def put_back_process(core: core_entry, place: fs_entry, path_of: PathOf, calls: CallList) -> None:
    """Step 9, in the leader, descriptors installed."""
    fs.rebuild(place, path_of, calls)
    subreaper.rebuild(core.tc, calls)
    membarrier.rebuild(core.tc, calls)


def put_back_actions(core: core_entry, calls: CallList) -> None:
    """Step 9, in the leader, when its zombies are made and stray signals drained."""
    sigactions.rebuild(core.tc.sigactions, calls)


def put_back_thread(core: core_entry, pid: int, tid: int, calls: CallList) -> None:
    """Step 11, in every thread at the same time."""
    tid_address.rebuild(core, tid, calls)
    robust.rebuild(core.thread_core, calls)
    if core.thread_core.HasField("sas"):
        altstack.rebuild(core.thread_core.sas, calls)
    rseq.rebuild(core.thread_core, calls)
    comm.rebuild(core, calls)
    sched.rebuild(core.thread_core, calls)
    pending.rebuild_private(core.thread_core.signals_p, pid, tid, calls)


def ask_thread(calls: CallList) -> thread_settings.Question:
    """Step 11, in every thread, before `put_back_settings`: what it has inherited from lamina."""
    return thread_settings.Question(calls)


def put_back_settings(core: core_entry, kept: Values, asked: thread_settings.Question, tid: int, calls: CallList) -> list[Wanted]:
    """Step 11, in every thread, after `put_back_thread`."""
    return thread_settings.rebuild(kept, asked.answer(), tid, core.thread_core, calls)


def put_back_clocks_and_limits(core: core_entry, kept: Values, pid: int, calls: CallList) -> list[Wanted]:
    """Step 11, in the leader, after all threads: timers start to run here, and limits could stop what comes before them."""
    wanted = mlock.rebuild(int(kept.get("mlock_future", 0)), pid, calls)
    pending.rebuild_shared(core.tc.signals_s, pid, calls)
    posix_timers.rebuild(list(core.tc.timers.posix), calls)
    itimers.rebuild(core.tc.timers, calls)
    rlimits.rebuild(core.tc.rlimits, calls, rlimits.read(pid))
    return wanted


def put_back_credentials(core: core_entry, ours: creds_entry, calls: CallList) -> None:
    """Step 11, in every thread: after this it may have no right to do anything else."""
    creds.rebuild(core.thread_core, ours, calls)
    pdeath.rebuild(core.thread_core, calls)


def credentials_of(pid: int) -> creds_entry:
    """What a process has now."""
    return creds.save(read_status(pid))


def put_back_last(memory: mm_entry, kept: Values, of_parent: Values, pid: int, calls: CallList) -> list[Wanted]:
    """Step 11, in the leader, after the credentials of every thread."""
    mm.rebuild_dumpable(memory, calls)
    return keyring.link(kept, of_parent, pid, calls)


def put_back_groups(kept: Mapping[int, Values], pid: int) -> list[str]:
    """The last thing before the switch, from outside. *kept*: by thread id, the leader first."""
    return cgroups.rebuild({tid: values["cgroups"] for tid, values in kept.items() if "cgroups" in values}, pid)


def put_back_from_outside(core: core_entry, kept: Values, pid: int) -> list[str]:
    """Through /proc, any time before the switch. *kept*: the supplement about it. Returns what could not be set, as sentences."""
    sentences = [oom.rebuild(core.tc, pid), coredump_filter.rebuild(int(kept.get("coredump_filter", coredump_filter.USUAL)), pid)]
    if os.getsid(pid) == pid and "autogroup_nice" in kept:
        sentences.append(autogroup.rebuild(int(kept["autogroup_nice"]), pid))
    return [sentence for sentence in sentences if sentence]
