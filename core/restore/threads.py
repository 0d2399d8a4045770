"""Steps 10 and 14 of a restore: the other threads, and the switch. On the tracer thread only."""

import struct

from lamina.core.attach.calls import CallList
from lamina.core.ffi import C, check, ffi, new_error
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


def let_go(processes: list[Rebuilding]) -> None:
    """Step 14, the switch: from here on nobody is traced, and nobody dies with us."""
    tids = [tracee.tid for process in processes for tracee in process.threads]
    kept = [int(tracee.thread.own_signals) for process in processes for tracee in process.threads]
    pids = [process.pid for process in processes]
    err = new_error()
    check(C.lm_release_all(ffi.new("int[]", tids), ffi.new("uint64_t[]", kept), len(tids), ffi.new("int[]", pids), len(pids), err), err)
