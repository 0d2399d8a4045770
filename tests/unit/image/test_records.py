"""What records cannot say: each value here was once taken by verify and refused, or worse, by a restore."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lamina.core.dirty.runs import PAGE
from lamina.core.image import schema
from lamina.core.image.format import VmaStatus
from lamina.core.image.records import areas
from lamina.core.kinds.files.epoll import watch_damage
from lamina.core.kinds.files.pipe import contents_damage
from lamina.core.kinds.table import ATTRIBUTES, DESCRIPTORS
from lamina.core.kinds.thread.creds import damage as creds_damage
from lamina.core.kinds.thread.registers import damage as register_damage
from lamina.core.kinds.thread.signals import queue_damage
from lamina.core.objects.file_records import file_damage, table_damage, unsupported
from lamina.core.objects.task_kind import TaskRecord, ThreadRecord
from tests.unit.image.layers import BASE, core, creds, fown, mm, reg

Change = Callable[[Any], object]


def told(found: Iterator[str]) -> str:
    return "; ".join(found)


def changed(record: Any, change: Change) -> Any:
    change(record)
    return record


def set_(name: str, value: Any) -> Change:
    return lambda record: setattr(record, name, value)


def task_damage(tc: schema.task_core_entry) -> str:
    record = core(7, True)
    record.tc.CopyFrom(tc)
    return told(ATTRIBUTES.task_damage(TaskRecord(7, (7,), record), "core"))


def mm_damage(entry: schema.mm_entry) -> str:
    return told(ATTRIBUTES.task_damage(TaskRecord(7, (7,), core(7, True), entry), "mm"))


def thread_of(record: schema.core_entry) -> ThreadRecord:
    return ThreadRecord(7, record, TaskRecord(7, (7,), record), [(BASE, BASE + PAGE)])


def area(**values: Any) -> schema.vma_entry:
    usual = {"start": BASE, "end": BASE + 4 * PAGE, "pgoff": 0, "shmid": 0, "prot": 3, "flags": 0x22, "status": 0x201, "fd": -1}
    return schema.vma_entry(**{**usual, **values})


def file_area(**values: Any) -> schema.vma_entry:
    return area(**{"status": VmaStatus.FILE_PRIVATE | 1, "flags": 2, "shmid": 1, "fdflags": 0, **values})


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (area(start=BASE + 1), "whole pages"),
        (area(end=BASE), "empty"),
        (area(end=2**60), "outside user space"),
        (area(pgoff=5), "offset"),
        (area(status=1), "no kind"),
        (area(status=0x201 | VmaStatus.FILE_PRIVATE), "several"),
        (area(status=VmaStatus.VDSO | VmaStatus.VVAR), "the kernel's"),
        (area(status=VmaStatus.VDSO | 1, prot=5, shmid=1), "of a file"),
        (area(status=VmaStatus.VVAR | 1), "[vvar]"),
        (area(flags=0x23), "say otherwise"),
        (area(flags=0x21), "say otherwise"),
        (area(prot=8), "protection"),
        (area(madv=1 << 3), "advice"),
        (file_area(flags=0x22), "has none"),
        (file_area(flags=0x102), "grows down"),
        (file_area(fdflags=7), "right to read"),
        (file_area(fdflags=1), "right to read"),
        (file_area(pgoff=2**63 - PAGE), "cannot be mapped"),
        (file_area(status=VmaStatus.FILE_SHARED | 1, flags=1), "opened for reading"),
        (area(status=VmaStatus.GUARD, start=BASE, end=BASE + PAGE), "lie in no area"),
    ],
)
def test_areas(entry: schema.vma_entry, why: str) -> None:
    assert why in told(areas.damage([entry]))


def test_areas_that_are_right() -> None:
    shared = file_area(start=BASE + 8 * PAGE, end=BASE + 9 * PAGE, status=VmaStatus.FILE_SHARED | 1, flags=1, fdflags=2)
    guard = area(status=VmaStatus.GUARD, start=BASE + PAGE, end=BASE + 2 * PAGE, prot=0)
    assert not told(areas.damage([area(), shared, guard]))
    assert not told(areas.unsupported([area(), shared, guard]))
    assert areas.writable([area(), shared, guard]) == [(BASE, BASE + 4 * PAGE), (BASE + 8 * PAGE, BASE + 9 * PAGE)]
    assert told(areas.unsupported([area(status=VmaStatus.SYSVIPC)])) and told(areas.unsupported([area(flags=0x40022)]))


def test_a_kernel_gives_one_vdso_and_its_data_or_neither() -> None:
    data, clocks, code = (
        area(start=BASE + at * PAGE, end=BASE + (at + 2) * PAGE, prot=prot, status=status | 0x201)
        for at, prot, status in ((0, 1, VmaStatus.VVAR), (2, 1, VmaStatus.VVAR), (4, 5, VmaStatus.VDSO))
    )
    for right in ([], [data, clocks, code], [clocks, code]):
        assert not told(areas.damage(right)) and not told(areas.unsupported(right))
    assert "it has [vdso] and no [vvar]" in told(areas.unsupported([code]))
    assert "it has [vvar] and no [vdso]" in told(areas.unsupported([data, clocks]))
    other = area(start=BASE + 9 * PAGE, end=BASE + 10 * PAGE, prot=1, status=VmaStatus.VVAR | 1)
    assert "it has [vvar] in 2 places" in told(areas.unsupported([data, clocks, code, other]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_("mm_brk", 1), "mm_brk is 0x1"),
        (set_("mm_end_code", 2**63), "no address"),
        (set_("mm_brk", BASE - 1), "above"),
        (set_("dumpable", 3), "dumpable"),
        (lambda it: it.mm_saved_auxv.append(1), "5 words"),
        (lambda it: it.mm_saved_auxv.extend([0] * 200), "204 words"),
        (lambda it: it.ClearField("vmas"), "no areas"),
    ],
)
def test_memory(change: Change, why: str) -> None:
    assert not mm_damage(mm())
    assert why in mm_damage(changed(mm(), change))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: setattr(it.gpregs, "fs_base", 2**63), "fs_base"),
        (lambda it: setattr(it.gpregs, "gs_base", 2**64 - 1), "gs_base"),
        (lambda it: setattr(it.gpregs, "ds", 4), "ds"),
        (lambda it: setattr(it.gpregs, "ss", 0), "ss"),
        (lambda it: setattr(it.gpregs, "es", 0x10003), "es"),
        (lambda it: setattr(it.fpregs, "cwd", 1 << 16), "16 bits"),
        (lambda it: setattr(it.fpregs, "mxcsr", 1 << 31), "mxcsr"),
        (lambda it: it.fpregs.st_space.pop(), "st_space"),
        (lambda it: it.fpregs.padding.extend([0] * 25), "padding"),
    ],
)
def test_registers(change: Change, why: str) -> None:
    info = core(7, True).thread_info
    assert not told(register_damage(info))
    change(info)
    assert why in told(register_damage(info))


@pytest.mark.parametrize("number", [0, 9, 19, 65, 2**31 - 1, -(2**31)])
def test_queued_signals(number: int) -> None:
    raw = struct.pack("<i", number) + bytes(124)
    queue = schema.signal_queue_entry(signals=[schema.siginfo_entry(siginfo=raw), schema.siginfo_entry(siginfo=b"\n")])
    assert told(queue_damage(queue)) == f"signal {number} is queued, which cannot be; a queued signal has 1 bytes, not 128"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"si_signo": 2**31 - 1}, "signal 2147483647"),
        ({"si_signo": 2**31}, "signal 2147483648"),
        ({"si_signo": 0}, "signal 0"),
        ({"it_sigev_notify": 3}, "notifies by 3"),
        ({"it_sigev_notify": 4, "notify_thread_id": 99}, "thread 99"),
        ({"it_sigev_notify": 4}, "thread 0"),
        ({"it_id": 2**31}, "an id that is none"),
        ({"vnsec": 10**9}, "times"),
        ({"isec": 2**63}, "times"),
        ({"clock_id": 4}, "clock 4"),
        ({"clock_id": (~(99 << 3) & 0xFFFFFFF8) | 2}, "of another process"),
    ],
)
def test_timers(values: dict[str, int], why: str) -> None:
    idle = schema.itimer_entry(isec=0, iusec=0, vsec=0, vusec=0)
    usual = {"it_id": 0, "clock_id": 0, "si_signo": 10, "it_sigev_notify": 0, "sival_ptr": 0, "overrun": 0}
    usual |= dict.fromkeys(("isec", "insec", "vsec", "vnsec"), 1)

    def with_(**more: int) -> str:
        timer = schema.posix_timer_entry(**{**usual, **more})
        tc = core(7, True).tc
        tc.timers.CopyFrom(schema.task_timers_entry(real=idle, virt=idle, prof=idle, posix=[timer]))
        return task_damage(tc)

    assert not with_() and not with_(it_sigev_notify=1, si_signo=2**31) and not with_(clock_id=(~(7 << 3) & 0xFFFFFFF8) | 2)
    assert why in with_(**values)
    late = schema.itimer_entry(isec=0, iusec=10**6, vsec=0, vusec=0)
    tc = core(7, True).tc
    tc.timers.CopyFrom(schema.task_timers_entry(real=late, virt=idle, prof=idle))
    assert task_damage(tc)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_("uid", 2**32 - 1), "uid is -1"),
        (lambda it: it.groups.append(2**32 - 1), "groups"),
        (lambda it: it.cap_eff.append(1), "not permitted"),
        (lambda it: it.cap_amb.append(1), "not permitted and inheritable"),
        (lambda it: it.cap_bnd.extend([0, 0, 1]), "more than 64 bits"),
        (set_("secbits", 1 << 12), "securebits"),
        (set_("no_new_privs", 2), "no_new_privs"),
    ],
)
def test_credentials(change: Change, why: str) -> None:
    assert not told(creds_damage(creds()))
    assert why in told(creds_damage(changed(creds(), change)))


def rseq(**values: int) -> schema.rseq_entry:
    return schema.rseq_entry(**{"rseq_abi_pointer": BASE + 64, "rseq_abi_size": 32, "signature": 1, **values})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: it.ClearField("thread_info"), "no registers"),
        (lambda it: it.ClearField("thread_core"), "no part of the thread"),
        (lambda it: it.thread_core.ClearField("creds"), "no credentials"),
        (lambda it: setattr(it.thread_core, "comm", b"x" * 16), "name"),
        (lambda it: setattr(it.thread_core, "futex_rla", 1), "robust"),
        (lambda it: setattr(it.thread_core, "sched_nice", 20), "nice"),
        (lambda it: setattr(it.thread_core, "sched_prio", 5), "priority"),
        (lambda it: setattr(it.thread_core, "pdeath_sig", 65), "parent-death"),
        (lambda it: it.thread_core.rseq_entry.CopyFrom(rseq(rseq_abi_pointer=64)), "cannot write"),
        (lambda it: it.thread_core.rseq_entry.CopyFrom(rseq(rseq_abi_pointer=BASE + 65)), "aligned"),
        (lambda it: it.thread_core.rseq_entry.CopyFrom(rseq(rseq_abi_size=31)), "31 bytes"),
        (lambda it: it.thread_core.sas.CopyFrom(schema.thread_sas_entry(ss_sp=0, ss_size=2047, ss_flags=0)), "2047 bytes"),
        (lambda it: it.thread_core.sas.CopyFrom(schema.thread_sas_entry(ss_sp=0, ss_size=0, ss_flags=4)), "flags"),
    ],
)
def test_threads(change: Change, why: str) -> None:
    right = core(7, True)
    right.thread_core.rseq_entry.CopyFrom(rseq())
    right.thread_core.sas.CopyFrom(schema.thread_sas_entry(ss_sp=0, ss_size=0, ss_flags=2))
    right.thread_info.fpregs.xsave.xstate_bv = 3
    right.thread_info.fpregs.xsave.cet.CopyFrom(schema.user_x86_cet_entry(cet=0, ssp=0))  # as criu 4.1 writes it of every thread
    assert not told(ATTRIBUTES.thread_damage(thread_of(right))) and not told(ATTRIBUTES.thread_unsupported(thread_of(right)))
    assert why in told(ATTRIBUTES.thread_damage(thread_of(changed(core(7, True), change))))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_("task_state", 9), "state is 9"),
        (set_("personality", 2**32 - 1), "personality"),
        (set_("membarrier_registration_mask", 1), "membarrier"),
        (set_("oom_score_adj", 1001), "oom_score_adj"),
        (lambda it: it.sigactions.pop(), "61 signal actions"),
        (lambda it: it.rlimits.rlimits.append(schema.rlimit_entry(cur=2, max=1)), "above its hard limit"),
    ],
)
def test_tasks(change: Change, why: str) -> None:
    assert not task_damage(core(7, True).tc)
    assert why in task_damage(changed(core(7, True).tc, change))


@pytest.mark.parametrize(
    ("status", "right"),
    [(0, True), (7 << 8, True), (9, True), (11 | 0x80, True), (1 << 16, False), (17, False), (19, False), (65, False), (0x109, False)],
)
def test_how_a_zombie_ended(status: int, right: bool) -> None:
    tc = core(7, True).tc
    tc.task_state, tc.exit_code = 2, status
    assert bool(task_damage(tc)) is not right


def epoll(ident: int, *watched: int, events: int = 1) -> schema.file_entry:
    record = schema.eventpoll_file_entry(id=ident, flags=2, fown=fown())
    for fd in watched:
        record.tfd.append(schema.eventpoll_tfd_entry(id=ident, tfd=fd, events=events, data=0))
    return schema.file_entry(type=schema.fd_types.EVENTPOLL, id=ident, epfd=record)


def test_epolls_that_nobody_can_make() -> None:
    def found(*files: schema.file_entry) -> str:
        table = [schema.fdinfo_entry(id=file.id, flags=0, type=file.type, fd=file.id) for file in files]
        return told(watch_damage({file.id: file for file in files}, {7: table}))

    counter = schema.file_entry(type=schema.fd_types.EVENTFD, id=3, efd=schema.eventfd_file_entry(id=3, flags=2, fown=fown(), counter=0))
    assert not found(counter, epoll(4, 3), epoll(5, 4))
    assert "that no task has" in found(epoll(4, 77))
    assert "watches itself" in found(epoll(4, 5), epoll(5, 4))
    assert "too deep" in found(*(epoll(at, at - 1) if at > 3 else epoll(at) for at in range(3, 20)))
    plain = reg(6, b"tmp/x")
    plain.reg.mode = 0o100600
    assert "a file or directory" in found(plain, epoll(4, 6))
    assert "twice" in told(file_damage(epoll(4, 3, 3), DESCRIPTORS))
    assert "cannot be together" in told(file_damage(epoll(4, 3, events=1 << 28 | 1 << 30), DESCRIPTORS))


def test_descriptors_and_descriptions() -> None:
    table = [schema.fdinfo_entry(id=1, flags=at, type=schema.fd_types.REG, fd=2**31) for at in (0, 4)]
    assert told(table_damage(table)).split("; ") == [
        "2147483648 is no descriptor", "a descriptor occurs twice: 2147483648", "2147483648 is no descriptor",
        "descriptor 2147483648 has the flags 0x4",
    ]  # fmt: skip
    full = schema.file_entry(
        type=schema.fd_types.EVENTFD, id=3, efd=schema.eventfd_file_entry(id=3, flags=2, fown=fown(), counter=2**64 - 1)
    )
    assert "counted" in told(file_damage(full, DESCRIPTORS))
    for name in (b"", b"a\0b", b"x" * 4096):
        assert "path" in told(file_damage(reg(1, name), DESCRIPTORS))
    owned = reg(1, b"x")
    owned.reg.fown.pid, owned.reg.fown.signum = 5, 65
    assert "signal 65" in told(file_damage(owned, DESCRIPTORS))
    assert "5, which is not in the tree" in told(unsupported(owned, {7}, DESCRIPTORS))
    assert not told(unsupported(owned, {5}, DESCRIPTORS))
    record = schema.pipe_data_entry(pipe_id=1, bytes=3, size=2)
    assert "2 bytes of room, and 3 in it" in told(contents_damage([(record, b"abc")]))
