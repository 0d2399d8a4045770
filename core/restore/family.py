"""Steps 2 to 6 of a restore: processes with their old pids, parents, sessions and groups, each an exec of its own program that has not run
an instruction. On the tracer thread only.

Whatever fails, nothing is left: everything made here is killed and reaped, and dies with us (PTRACE_O_EXITKILL) if we die.
"""

import errno
import os
import signal
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from lamina.core.attach.calls import CallList
from lamina.core.attach.tracee import Tracee
from lamina.core.errors import LaminaError, NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.records.queues import queued_signals
from lamina.core.image.shared_tables import CLONE_PARENT
from lamina.core.objects.task_kind import Stage
from lamina.core.restore import stages
from lamina.core.restore.plan import RestorePlan, TaskPlan
from lamina.core.restore.process import TRACING, Rebuilding, adopt, end_signal

_CLONE_ARGS = struct.Struct("<11Q")
_SET_TID_AT = 64


class Family:
    """The processes of a tree that is being rebuilt. As a context manager it kills them all if its block fails.

    Attributes:
        processes: living ones by pid, parents first.
        zombies: those that have to end before the tree runs, by pid.
        notices: what could not be set, as sentences.
    """

    def __init__(self, plan: RestorePlan, orphan: bool) -> None:
        """orphan: the root is no child of ours (see `lm_spawn_start`)."""
        self.plan = plan
        self.processes: dict[int, Rebuilding] = {}
        self.zombies: dict[int, Rebuilding] = {}
        self._orphan = orphan
        self.notices: list[str] = []
        self._made: list[int] = []
        self._forked: dict[int, Rebuilding] = {}

    @property
    def root(self) -> Rebuilding:
        """The root of the tree."""
        return self.processes[self.plan.root.pid]

    def make(self) -> None:
        """Make all of them.

        Raises:
            NativeError: a pid was taken meanwhile, an executable does not start.
        """
        self._make_root(self.plan.root)
        for member in self.plan.memberships.in_group_order:
            calls = CallList()
            calls.add("setpgid", 0, member.group, expect=0, about=f"join process group {member.group}")
            (self.processes.get(member.pid) or self.zombies[member.pid]).run(calls)
        for pid, process in self.zombies.items():
            err = new_error()
            check(C.lm_exit_inside(pid, process.syscall, self.plan.tasks[pid].core.tc.exit_code, err), err)

    def _make_root(self, task: TaskPlan) -> None:
        spawn, err = ffi.new("lm_spawn *"), new_error()
        executable = os.fsencode(task.executable)
        try:
            check(C.lm_spawn_start(spawn, task.pid, executable, task.core.tc.personality, self._orphan, err), err)
        except NativeError as error:
            if error.errnum == errno.EEXIST:
                raise TargetError("cannot make", f"process {task.pid}", "its pid was taken meanwhile") from error
            raise
        try:
            self._made.append(task.pid)
            check(C.lm_seize(task.pid, TRACING, err), err)
            check(C.lm_spawn_exec(spawn, err), err)
        finally:
            C.lm_spawn_free(spawn)
        # Not by recursion: a tree may be deeper than Python's stack.
        pending = [self._settle(task)]
        while pending:
            child = next(pending[-1], None)
            if child is None:
                pending.pop()
            else:
                pending.append(self._settle(child))

    def _settle(self, task: TaskPlan) -> Iterator[TaskPlan]:
        """*task* has exec'd, or been forked from whom it shares descriptors with: make it ready for calls, then its session and its
        children, depth first; yields who is to be settled next.
        """
        queued = [number for thread in task.record.threads for number in queued_signals(thread.core)]
        process = self._forked.pop(task.pid, None) or Rebuilding(task.pid, end_signal(queued))
        self.processes[task.pid] = process
        if process.threads:
            # A copy of who cloned it: the scratch range is where that one's image has a gap.
            process.signal = end_signal(queued)
            process.leader.signal = process.signal
            process.drop_scratch()
        else:
            process.exec_done()
        process.make_scratch(task.spans, [self.plan.slice_bytes(task, tid) for tid in task.threads])
        self.notices += stages.put_back(process, task.record, Stage.BEFORE_CHILDREN)
        yield from self._make_children(process, task.membership.children_before)
        if task.membership.leads_session:
            calls = CallList()
            calls.add("setsid", expect=task.pid, about="lead its session")
            process.run(calls)
        yield from self._make_children(process, task.membership.children_after)

    def _make_children(self, parent: Rebuilding, pids: tuple[int, ...]) -> Iterator[TaskPlan]:
        for pid in pids:
            task = self.plan.tasks[pid]
            cloner = self.processes[task.origin.cloner] if task.origin.cloner else parent
            self._clone(cloner, pid, task.origin.flags)
            child = Rebuilding(pid, cloner.signal)
            tracee = child.add_thread(pid)
            # It is a copy of who cloned it, scratch range and all.
            tracee.page, tracee.size = cloner.leader.page, cloner.leader.size
            child.scratch, child.syscall = cloner.scratch, cloner.syscall
            if task.is_zombie:
                self._prepare_zombie(child, task)
                continue
            calls = CallList()
            calls.add("personality", task.core.tc.personality, about="set its personality")
            child.run(calls)
            if task.origin.execs:
                self._exec(child, tracee, task)
            else:
                self._forked[pid] = child
            yield task

    def _clone(self, cloner: Rebuilding, pid: int, flags: int) -> None:
        calls = CallList()
        # A sibling ends with the signal that its maker ends with.
        ends_with = 0 if flags & CLONE_PARENT else signal.SIGCHLD
        wanted = calls.data(struct.pack("<i", pid))
        args = calls.data(_CLONE_ARGS.pack(flags, 0, 0, 0, ends_with, 0, 0, 0, 0, 1, 0))
        calls.pointer(args + _SET_TID_AT, wanted)
        calls.add("clone3", args, _CLONE_ARGS.size, expect=pid, about=f"make process {pid}")
        self._made.append(pid)
        try:
            cloner.run(calls)
        except LaminaError:
            if calls.calls[-1].result != pid:
                self._made.remove(pid)  # it is somebody else's
            raise
        adopt(pid)

    def _exec(self, child: Rebuilding, tracee: Tracee, task: TaskPlan) -> None:
        err = new_error()
        check(C.lm_exec_inside(task.pid, child.syscall, tracee.page, os.fsencode(task.executable), err), err)

    def _prepare_zombie(self, child: Rebuilding, task: TaskPlan) -> None:
        calls = CallList()
        if task.membership.leads_session:
            calls.add("setsid", expect=task.pid, about="lead its session")
        stages.put_into_zombie(task.record, calls)
        child.run(calls)
        self.zombies[task.pid] = child

    def kill(self) -> None:
        """End everything made so far, children first, and reap what is ours to reap."""
        for pid in reversed(self._made):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for pid in reversed(self._made):
            others = [tracee.tid for tracee in self.processes[pid].threads[1:]] if pid in self.processes else []
            # A leader's end is reported only after those of its threads.
            for tid in (*reversed(others), pid):
                _reap(tid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.kill()


def _reap(tid: int) -> None:
    while True:
        try:
            _, status = os.waitpid(tid, 0x40000000)  # __WALL
        except ChildProcessError:
            return
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return
