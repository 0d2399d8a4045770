"""Every kind of a task against the kernel: asked of one frozen process, saved, encoded, rebuilt inside another one, asked again."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Area, read_maps, read_smaps, read_status
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenProcess, FrozenTree
from lamina.core.dump.capture import capture_task
from lamina.core.errors import RefusedError
from lamina.core.ffi import ffi
from lamina.core.image import schema
from lamina.core.kinds.memory import special, vma_flags, vmas
from lamina.core.kinds.memory.mm import Dumpable, HugePages, MemoryDescriptor
from lamina.core.kinds.table import ATTRIBUTES
from lamina.core.kinds.task.fs import FileSystemPlace
from lamina.core.kinds.task.ids import IdTable
from lamina.core.kinds.task.itimers import IntervalTimers
from lamina.core.kinds.task.posix_timers import PosixTimers
from lamina.core.kinds.task.proc_files import OomScore
from lamina.core.kinds.task.rlimits import ResourceLimits
from lamina.core.kinds.task.signals import SharedQueue, SignalActions
from lamina.core.kinds.task.state import ChildSubreaper, Membarrier
from lamina.core.kinds.thread import creds, xstate
from lamina.core.kinds.thread.comm import Name
from lamina.core.kinds.thread.creds import Credentials
from lamina.core.kinds.thread.landlock import Peers
from lamina.core.kinds.thread.registrations import AlternateStack, RobustList
from lamina.core.kinds.thread.sched import Scheduling
from lamina.core.kinds.thread.signals import ParentDeathSignal, PrivateQueue
from lamina.core.objects.task_capture import save_task
from lamina.core.objects.task_kind import Asking, CapturedTask, Stage, TaskKind, TaskRecord, ThreadKind, ThreadRecord

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: ptrace, nice values, chroot")

PLAIN = "print(flush=True); input()"
CONFIGURED = """
    import ctypes, mmap, os, resource, signal, struct, sys, threading
    libc = ctypes.CDLL(None, use_errno=True)
    def must(result):
        if result < 0: raise OSError(ctypes.get_errno(), "setup")
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, 40, 41, signal.SIGVTALRM})
    os.kill(os.getpid(), signal.SIGUSR2)
    for value in (7, 8):
        must(libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(value)))
    signal.pthread_kill(threading.main_thread().ident, 41)
    signal.setitimer(signal.ITIMER_REAL, 1000, 5)
    signal.setitimer(signal.ITIMER_PROF, 2000, 0)
    for number in range(4):
        event, place = ctypes.create_string_buffer(struct.pack("<Qii48x", 1000 + number, 41, 0)), ctypes.c_int()
        must(libc.syscall(222, 1, event, ctypes.byref(place)))
        assert place.value == number
    for number in (0, 2):
        must(libc.syscall(226, number))
    must(libc.syscall(223, 1, 0, struct.pack("<4q", 3, 5, 3000, 7), None))
    stack = mmap.mmap(-1, 65536, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(stack))
    must(libc.sigaltstack(struct.pack("<QixxxxQ", address, 0, 65536), None))
    must(libc.prctl(36, 1, 0, 0, 0))
    must(libc.prctl(1, 12, 0, 0, 0))
    must(libc.prctl(15, b"kinds \\xff )x", 0, 0, 0))
    must(libc.prctl(4, 0, 0, 0, 0))
    os.umask(0o027)
    os.chdir(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 1024))
    os.nice(3)
    print(flush=True)
    input()
    print("on", flush=True)
"""


class Files:
    """A path table: ids in the order of first use."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def path(self, path: str, flags: int = 0) -> int:
        self.paths.append(path)
        return len(self.paths)

    def shared_memory(self, dev: str, inode: int) -> int:
        return inode

    def of(self, number: int) -> str:
        return self.paths[number - 1]


Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def begin(program: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@contextmanager
def frozen(pid: int) -> Iterator[FrozenProcess]:
    with FrozenTree(pid) as tree:
        (process,) = tree
        tree.prepare_scratch(process)
        yield process


def capture_frozen(process: FrozenProcess) -> CapturedTask:
    with Peers([process.pid]) as peers:
        taken = capture_task(process, tuple(process.areas), peers)
    taken.take_signals()
    taken.refuse()  # works out every value: what is given back is no longer of the stopped process
    return taken.task


def capture(pid: int) -> CapturedTask:
    areas = tuple(read_smaps(pid))
    with frozen(pid) as process:
        return replace(capture_frozen(process), areas=areas)


def images(task: CapturedTask, files: Files) -> tuple[schema.core_entry, schema.mm_entry, schema.fs_entry]:
    """Saved, encoded, decoded."""
    made = save_task(task, files, IdTable().of(task.pid), ATTRIBUTES)
    assert set(made) == {f"{kind}-{task.pid}" for kind in ("core", "mm", "fs", "ids")}
    raw = {kind: records[0].SerializeToString() for kind, records in made.values()}
    return schema.core_entry.FromString(raw["core"]), schema.mm_entry.FromString(raw["mm"]), schema.fs_entry.FromString(raw["fs"])


def test_asking_shows_what_the_program_did_and_leaves_no_trace(start: Start, tmp_path: Path) -> None:
    program = start(CONFIGURED)
    maps = Path(f"/proc/{program.pid}/maps").read_text()
    task = tracer().call(capture, program.pid)
    assert Path(f"/proc/{program.pid}/maps").read_text() == maps
    leader = task.threads[0]
    timer, posix = task.of(IntervalTimers())[0], task.of(PosixTimers())
    assert timer[0] == 5
    assert 990 < timer[2] <= 1000
    assert [(t.id, t.value, t.signal, t.interval) for t in posix] == [(1, 1001, 41, 3_000_000_005), (3, 1003, 41, 0)]
    assert 2990 < posix[0].left / 1e9 < 3001
    assert (task.of(ChildSubreaper()), leader.of(ParentDeathSignal()), task.of(Dumpable()), task.of(HugePages())) == (1, 12, 0, 0)
    assert leader.of(AlternateStack())[1:] == (65536, 0)
    assert leader.of(Name()) == b"kinds \xff )x"
    assert (task.of(FileSystemPlace()), task.of(ResourceLimits())[7]) == ((str(tmp_path), "/", 0o027), (512, 1024))
    assert leader.of(Scheduling()) == (0, 0, min(os.nice(0) + 3, 19))
    assert len(task.signals) == 3
    assert len(leader.signals) == 1
    heap = next(area for area in task.areas if area.path == "[heap]")
    assert heap.end == task.of(MemoryDescriptor())[1]
    assert program.communicate(b"\n")[0] == b"on\n"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("libc.prctl(41, 1, 2, 0, 0)", "huge pages are disabled except where advised"),
        ("libc.prctl(57, 1, 0, 0, 0)", "PR_SET_IO_FLUSHER"),
        ("libc.prctl(77, 1, 0, 0, 0)", "PR_TIMER_CREATE_RESTORE_IDS"),
        ("libc.prctl(62, 1, 0, 0, 0)", "PR_SCHED_CORE"),
        ("libc.syscall(154, 1, (ctypes.c_uint32 * 4)(1, 4096, 1, 0x51), 16)", "modify_ldt"),
        ("libc.syscall(158, 0x1012, 0)", "ARCH_SET_CPUID"),
        ("libc.syscall(158, 0x1023, 18)", "ARCH_REQ_XCOMP_PERM"),
        ("libc.syscall(158, 0x4002, 6)", "LAM"),
        ("libc.prctl(67, 1, 0, 0, 0)", "PR_SET_MEMORY_MERGE"),
        ("libc.prctl(79, 2, 1, 0, 0)", "PR_RSEQ_SLICE_EXTENSION"),
        ("libc.ioperm(0x80, 1, 1)", "ioperm"),
    ],
)
def test_what_only_the_inside_shows_is_refused_by_name(start: Start, call: str, reason: str) -> None:
    program = start(f"import ctypes; libc = ctypes.CDLL(None); print(flush=True); print({call}, flush=True); print(input())")
    assert program.stdout is not None
    if program.stdout.readline() == b"0\n":
        with pytest.raises(RefusedError, match=reason):
            tracer().call(capture, program.pid)
    else:  # this processor or kernel has no such thing
        tracer().call(capture, program.pid)
    assert program.communicate(b"on\n")[0] == b"on\n"


def test_securebits_and_membarrier_registrations_are_saved_and_the_latter_rebuilt(start: Start) -> None:
    # PR_SET_KEEPCAPS; MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
    program = start(
        "import ctypes; libc = ctypes.CDLL(None); libc.prctl(8, 1, 0, 0, 0); libc.syscall(324, 1 << 4, 0, 0); print(flush=True); input()"
    )
    core, _, _ = images(tracer().call(capture, program.pid), Files())
    assert core.thread_core.creds.secbits == 0x10
    assert core.tc.membarrier_registration_mask & 1 << 4

    def register(pid: int) -> None:
        with frozen(pid) as process:
            calls = CallList()
            Membarrier().rebuild(TaskRecord(pid, (pid,), core), calls)
            process.leader.run(calls)

    other = start("print(flush=True); input()")
    tracer().call(register, other.pid)
    assert tracer().call(capture, other.pid).of(Membarrier()) & 1 << 4


def test_what_is_rebuilt_is_what_was_saved(start: Start) -> None:
    files = Files()
    task = tracer().call(capture, start(CONFIGURED).pid)
    core, _, place = images(task, files)
    other = start(PLAIN)

    record = TaskRecord(other.pid, (other.pid,), core, schema.mm_entry(dumpable=task.of(Dumpable())), place, path_of=files.of)
    thread = ThreadRecord(other.pid, core, record)

    def rebuild() -> CapturedTask:
        with FrozenTree(other.pid) as tree:
            (process,) = tree
            tree.prepare_scratch(process)
            calls = CallList()
            for task_kind in (SignalActions(), ChildSubreaper(), FileSystemPlace()):
                task_kind.rebuild(record, calls)
            process.leader.run(calls)
            calls = CallList()
            for thread_kind in (AlternateStack(), RobustList(), Name(), Scheduling(), PrivateQueue()):
                thread_kind.rebuild(thread, calls)
            for each in (SharedQueue(), PosixTimers(), IntervalTimers(), ResourceLimits()):
                each.rebuild(record, calls)
            Credentials().rebuild(thread, calls)
            ParentDeathSignal().rebuild(thread, calls)
            Dumpable().rebuild(record, calls)
            assert not [*OomScore().write(record)]
            process.leader.run(calls)
            try:
                process.leader.read()  # the robust list of now, not of the stop
                return capture_frozen(process)
            finally:
                tree.kill()

    again = tracer().call(rebuild)
    one, two = task.threads[0], again.threads[0]
    same: list[TaskKind[Any]] = [
        SignalActions(), SharedQueue(), ChildSubreaper(), FileSystemPlace(), ResourceLimits(), OomScore(), Dumpable(),
    ]  # fmt: skip
    for kind in same:
        assert again.of(kind) == task.of(kind), kind.name
    same_of_threads: list[ThreadKind[Any]] = [
        AlternateStack(), RobustList(), Name(), Scheduling(), PrivateQueue(), ParentDeathSignal(), Credentials(),
    ]  # fmt: skip
    for thread_kind in same_of_threads:
        assert two.of(thread_kind) == one.of(thread_kind), thread_kind.name
    posix, was = again.of(PosixTimers()), task.of(PosixTimers())
    assert [replace(t, left=0) for t in posix] == [replace(t, left=0) for t in was]
    assert abs(posix[0].left - was[0].left) < 30e9
    timers, before = again.of(IntervalTimers()), task.of(IntervalTimers())
    assert [timer[:2] for timer in timers] == [timer[:2] for timer in before]
    assert abs(timers[0][2] - before[0][2]) < 30
    assert abs(timers[2][2] - before[2][2]) < 30


USER = {
    "Uid": "1001 1002 1003 1002", "Gid": "2001 2002 2003 2002", "Groups": "5 6", "CapInh": "0000000000000401", "CapPrm": "0000000000000402",
    "CapEff": "0000000000000400", "CapBnd": "00000000000004ff", "CapAmb": "0000000000000400", "NoNewPrivs": "1",
}  # fmt: skip
PLAIN_USER = {**USER, "CapInh": "0", "CapPrm": "0", "CapEff": "0", "CapAmb": "0", "NoNewPrivs": "0"}


@pytest.mark.parametrize(("status", "secbits"), [(USER, 0x2F), (USER, 0), (PLAIN_USER, 0)])
def test_credentials_of_another_user(start: Start, status: dict[str, str], secbits: int) -> None:
    other = start(PLAIN)
    if secbits & 1:  # NOROOT: nothing in this machine forbids what is asked for
        assert not creds.lacking(creds.of_status(status, secbits), creds.of_status(read_status(other.pid)))

    def rebuild() -> tuple[schema.creds_entry, int]:
        with frozen(other.pid) as process:
            calls = CallList()
            creds.change(creds.of_status(status, secbits), creds.of_status(read_status(process.pid)), calls)
            answer = Credentials().ask(calls, Asking(process.pid, process.pid))
            process.leader.run(calls)
            return creds.of_status(read_status(process.pid), answer()), answer()

    got, bits = tracer().call(rebuild)
    assert got == creds.of_status(status, secbits)
    assert bits == secbits


def test_the_memory_descriptor(start: Start) -> None:
    files = Files()
    task = tracer().call(capture, start(PLAIN).pid)
    _, saved, _ = images(task, files)
    stat = task.stat
    assert (saved.mm_start_stack, saved.mm_start_brk, saved.mm_arg_start, saved.mm_env_end) == (
        stat.start_stack, stat.start_brk, stat.arg_start, stat.env_end,
    )  # fmt: skip
    assert files.of(saved.exe_file_id) == str(Path(sys.executable).resolve())
    assert memoryview(task.texts["auxv"]).cast("Q").tolist() == [*saved.mm_saved_auxv, 0, 0]
    changed = schema.mm_entry()
    changed.CopyFrom(saved)
    changed.mm_start_code += 1
    changed.mm_arg_start += 1
    changed.mm_brk -= 4096
    changed.mm_saved_auxv[1] += 1
    changed.thp_disabled = True

    def put_in(process: FrozenProcess, entry: schema.mm_entry) -> schema.mm_entry:
        calls = CallList()
        record = TaskRecord(task.pid, (task.pid,), schema.core_entry(), entry)
        for kind in ATTRIBUTES.tasks_at(Stage.MEMORY):
            if kind.image == "mm":
                kind.rebuild(record, calls)
        process.leader.run(calls)
        return images(replace(capture_frozen(process), areas=task.areas), Files())[1]

    def rebuild() -> tuple[schema.mm_entry, schema.mm_entry]:
        with frozen(task.pid) as process:
            return put_in(process, changed), put_in(process, saved)

    now, back = tracer().call(rebuild)
    for got, wanted in ((now, changed), (back, saved)):
        assert got == wanted


def test_mappings_are_made_as_planned(start: Start, tmp_path: Path) -> None:
    pid = start(PLAIN).pid
    file = tmp_path / "mapped"
    file.write_bytes(bytes(5 * 4096))
    base, page = 0x1234_0000_0000, 4096
    flags = {"private": "mr mw me ac", "noreserve": "mr mw me nr", "stack": "mr mw me gd ac"}
    wanted = [
        Area(base, base + 4 * page, "rw-p", 0, "00:00", 0, "", frozenset(flags["private"].split())),
        Area(base + 8 * page, base + 9 * page, "r-xp", 0, "00:00", 0, "", frozenset(flags["noreserve"].split())),
        Area(base + 512 * page, base + 514 * page, "rw-p", 0, "00:00", 0, "[stack]", frozenset(flags["stack"].split())),
        Area(base + 1024 * page, base + 1026 * page, "r--p", page, "00:00", 1, str(file), frozenset(["mr", "mw", "me", "hg", "dd", "rr"])),
        Area(base + 1026 * page, base + 1027 * page, "---p", 3 * page, "00:00", 1, str(file), frozenset()),
        Area(base + 1030 * page, base + 1031 * page, "rw-s", 2 * page, "00:00", 1, str(file), frozenset(["mw", "sr", "dc"])),
        Area(base + 1040 * page, base + 1042 * page, "rw-p", 0, "00:00", 0, "", frozenset(["nh", "wf", "lo", "mr", "mw", "me"])),
    ]
    files = Files()
    plans = vmas.plan(vmas.save(wanted, files), files.of, lambda entry: True)
    lowest = min(set(range(10)) - {int(name) for name in os.listdir(f"/proc/{pid}/fd")})

    def rebuild() -> None:
        with frozen(pid) as process:
            calls = CallList()
            vmas.make(plans, calls, fd=lowest)
            process.leader.run(calls)
            during = {area.start: area.perms for area in read_smaps(pid)}
            assert all(during[plan.start][1] == "w" for plan in plans if plan.filled)
            calls = CallList()
            vmas.protect(plans, calls)
            process.leader.run(calls)

    tracer().call(rebuild)
    got = {area.start: area for area in read_smaps(pid)}
    kept = frozenset(vma_flags.MAP_OF_VMFLAG) | frozenset(vma_flags.MADV_OF_VMFLAG)
    for area in wanted:
        found = got[area.start]
        assert (found.end, found.perms, found.offset) == (area.end, area.perms, area.offset)
        assert found.path == (area.path if area.is_file else "")
        assert found.flags & kept == area.flags & kept
    assert not any(name for name in os.listdir(f"/proc/{pid}/fd") if int(name) == lowest)


def test_vector_registers_go_through_the_kernel(start: Start) -> None:
    pid, layout = start(PLAIN).pid, xstate.host_layout()

    def exchange() -> tuple[bytes, bytes, bytes]:
        with frozen(pid) as process:
            thread = process.leader.thread
            own = bytes(ffi.buffer(thread.xstate, thread.xstate_size))
            entry = xstate.save(own)
            entry.xsave.xstate_bv = layout.features & 0xE7
            entry.cwd, entry.mxcsr = 0x27F, 0x1FA0
            for field in ("ymmh_space", "opmask_reg", "zmm_upper", "hi16_zmm"):
                words = getattr(entry.xsave, field)
                words[:] = [0x0101_0101 * (at % 251 + 1) for at in range(len(words))]
            entry.xmm_space[:] = range(1, 65)
            entry.st_space[:] = [at * 7 if at % 4 != 3 else 0 for at in range(32)]  # a register is 10 bytes of 16
            entry.st_space[2::4] = [0x4000] * 8
            written = xstate.load(schema.user_x86_fpregs_entry.FromString(entry.SerializeToString()))
            assert len(written) == thread.xstate_size
            ffi.buffer(thread.xstate)[: len(written)] = written
            process.leader.write()
            process.leader.read()
            read = bytes(ffi.buffer(thread.xstate, thread.xstate_size))
            ffi.buffer(thread.xstate)[: len(own)] = own
            process.leader.write()
            return own, written, read

    own, written, read = tracer().call(exchange)
    assert len(own) == layout.size
    assert read == written
    assert xstate.load(xstate.save(own)) == own


def test_the_kernels_mappings_are_moved_and_the_program_goes_on(start: Start) -> None:
    program = start(PLAIN)
    pid = program.pid
    by_name = {area.path: area for area in read_maps(pid) if area.path in ("[vvar]", "[vvar_vclock]", "[vdso]")}
    entries = vmas.save(by_name.values(), Files())
    distance = 4096  # so near that old and new places overlap
    for entry in entries:
        entry.start += distance
        entry.end += distance

    def move() -> list[Area]:
        with frozen(pid) as process:
            calls = CallList()
            special.rebuild(special.moves(entries, process.areas), 0x1234_0000_0000, calls)
            process.leader.run(calls)
            moved = read_maps(pid)
            for entry in entries:
                entry.start -= distance
                entry.end -= distance
            calls = CallList()
            special.rebuild(special.moves(entries, moved), 0x1234_0000_0000, calls)
            process.leader.run(calls)
            return moved

    moved = {area.path: area for area in tracer().call(move) if area.path in by_name}
    assert {name: area.start for name, area in moved.items()} == {name: area.start + distance for name, area in by_name.items()}
    assert {area.path: area for area in read_maps(pid) if area.path in by_name} == by_name
    program.communicate(b"\n")
    assert program.returncode == 0
