"""Steps 10 to 14 of a restore: the other threads, what each of them puts back, registers, and the switch. On the tracer thread only."""

import struct
from pathlib import Path

from lamina.core.attach.calls import CallList
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.schema import core_entry
from lamina.core.kinds.thread import interrupted, registers
from lamina.core.objects.setting import said
from lamina.core.restore import steps
from lamina.core.restore.plan import RestorePlan, TaskPlan
from lamina.core.restore.process import Rebuilding, adopt

# clone(2): CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM
_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000
_CLONE_ARGS = struct.Struct("<11Q")
_SET_TID_AT = 64
_STACK = 4096


def make_threads(process: Rebuilding, plan: RestorePlan, task: TaskPlan) -> None:
    """Step 10: threads with their old ids, held before their first instruction."""
    slices = dict(zip(task.threads, (plan.slice_bytes(task, tid) for tid in task.threads), strict=True))
    page = process.scratch[0] + slices.pop(process.pid)
    calls = CallList()
    for tid in slices:
        wanted = calls.data(struct.pack("<i", tid))
        # Its stack pointer only has to be some address: registers are replaced before it runs.
        args = calls.data(_CLONE_ARGS.pack(_THREAD_FLAGS, 0, 0, 0, 0, page, _STACK, 0, 0, 1, 0))
        calls.pointer(args + _SET_TID_AT, wanted)
        calls.add("clone3", args, _CLONE_ARGS.size, expect=tid, about=f"make thread {tid}")
    process.run(calls)
    for tid, size in slices.items():
        adopt(tid)
        tracee = process.add_thread(tid)
        tracee.page, tracee.size = page, size
        page += size


def put_back_threads(process: Rebuilding, plan: RestorePlan, task: TaskPlan) -> list[str]:
    """Step 11: what belongs to threads, timers, limits, credentials. Returns what could not be set, as sentences."""
    layer, pid = plan.layer, process.pid
    ours = steps.credentials_of(pid)
    own: dict[int, CallList] = {}
    rights: dict[int, CallList] = {}
    for tid in task.threads:
        steps.put_back_thread(layer.core(tid), pid, tid, own.setdefault(tid, CallList()))
        steps.put_back_credentials(layer.core(tid), ours, rights.setdefault(tid, CallList()))
    asked = {tid: steps.ask_thread(calls) for tid, calls in own.items()}
    process.run_everywhere(own)
    settings: dict[int, CallList] = {tid: CallList() for tid in task.threads}
    wanted = []
    for tid, calls in settings.items():
        wanted += steps.put_back_settings(layer.core(tid), plan.supplement.threads.get(tid, {}), asked[tid], tid, calls)
    process.run_everywhere(settings)
    clocks = CallList()
    wanted += steps.put_back_clocks_and_limits(task.core, task.kept, pid, clocks)
    process.run(clocks)
    process.run_everywhere(rights)
    last = CallList()
    wanted += steps.put_back_last(layer.mm(pid), task.kept, plan.kept_of_parent(task), pid, last)
    process.run(last)
    return said(wanted)


def put_back_registers(process: Rebuilding, plan: RestorePlan, task: TaskPlan) -> None:
    """Step 13: nothing may run inside after this."""
    sidecar = plan.layer.sidecar
    for tracee in process.threads:
        core = plan.layer.core(tracee.tid)
        loaded = registers.load(core)
        thread = tracee.thread
        restart = sidecar.restarts.get(tracee.tid, 0) if sidecar else 0
        code = _memory_at(task, loaded.general["rip"] - interrupted.CODE_BYTES, interrupted.CODE_BYTES)
        stack = _memory_at(task, loaded.general["rsp"], interrupted.STACK_BYTES)
        for name, value in interrupted.for_new_process(loaded.general, code, restart, stack).items():
            setattr(thread.regs, name, value)
        ffi.memmove(thread.xstate, loaded.xstate, len(loaded.xstate))
        thread.xstate_size = len(loaded.xstate)
        thread.sigmask = _mask(core)
        tracee.write()


def _memory_at(task: TaskPlan, address: int, size: int) -> bytes:
    """Memory of the new process; less than *size* where its mapping ends, nothing where there is none."""
    try:
        with Path(f"/proc/{task.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)
    except (OSError, ValueError, OverflowError):
        return b""


def _mask(core: core_entry) -> int:
    return int(core.thread_core.blk_sigset if core.thread_core.HasField("blk_sigset") else core.tc.blk_sigset)


def let_go(processes: list[Rebuilding]) -> None:
    """Step 14, the switch: from here on nobody is traced, and nobody dies with us."""
    tids = [tracee.tid for process in processes for tracee in process.threads]
    kept = [int(tracee.thread.own_signals) for process in processes for tracee in process.threads]
    pids = [process.pid for process in processes]
    err = new_error()
    check(C.lm_release_all(ffi.new("int[]", tids), ffi.new("uint64_t[]", kept), len(tids), ffi.new("int[]", pids), len(pids), err), err)
