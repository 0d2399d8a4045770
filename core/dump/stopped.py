"""What only a stop can tell: the tree is stopped, asked from inside as in a dump, and let go, unchanged. `lamina check --stop`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import describe
from lamina.core.attach.tracer import tracer
from lamina.core.dirty.state import lock_target
from lamina.core.dump.arming import frozen
from lamina.core.dump.capture import Prepared, areas_of, capture_rest, capture_task, prepare
from lamina.core.dump.preflight import Examination, examine
from lamina.core.dump.recover import recover_targets
from lamina.core.dump.watched import WatchedTree
from lamina.core.errors import Blocker, LaminaError, RefusedError
from lamina.core.kinds.thread.landlock import Peers

ONLY_A_STOP: Final = (
    "system call user dispatch, writable code and instructions that are forbidden (PR_SET_MDWE, PR_SET_TSC), tagged addresses, AMX, "
    "keys in keyrings, Landlock, processor ports (ioperm), packets in pipes"
)


def examine_stopped(pid: int, shell_job: bool = False) -> Examination:
    """As `examine`; if that finds nothing, the tree is stopped for some ms and asked what a dump would ask.

    Raises:
        TargetError: there is no such process.
    """
    recover_targets()
    return tracer().call(_examine_stopped, pid, shell_job)


def _examine_stopped(pid: int, shell_job: bool) -> Examination:
    found = examine(pid, shell_job)
    if found.blockers:
        return found
    blockers: list[Blocker] = []
    with _noting(blockers, pid), ExitStack() as stack:
        stack.enter_context(lock_target(identify(pid)))
        tree = WatchedTree(found.pids)
        stack.callback(tree.close)
        alive = [task.pid for task in tree.alive()]
        peers = stack.enter_context(Peers(alive))
        known = prepare(alive, peers)
        still = stack.enter_context(frozen(tree, pid))
        taken = []
        for process in still:
            with _noting(blockers, process.pid):
                still.prepare_scratch(process)
                prepared = known.get(process.pid, Prepared())
                areas = areas_of(process, prepared.areas)
                taken.append(capture_task(process, areas, peers, prepared=prepared.questions))
        if len(taken) == len(still.processes):
            uffds = {task.remembered.state.uffd_ino for task in tree} | set(found.own_uffds)
            captured = capture_rest(still, taken, uffds - {0})
            for task in taken:
                with _noting(blockers, task.process.pid):
                    task.refuse()
            with captured.descriptors, _noting(blockers, pid):
                captured.descriptors.refuse("cannot dump", describe(pid))
    return replace(found, blockers=tuple(dict.fromkeys(blockers)))


@contextmanager
def _noting(blockers: list[Blocker], pid: int) -> Iterator[None]:
    """What is refused becomes a blocker."""
    try:
        yield
    except RefusedError as error:
        blockers += error.blockers or [Blocker(error.obj, error.why, error.fix, pid)]
    except LaminaError as error:
        blockers.append(Blocker(error.obj or describe(pid), error.why or error.what, error.fix, pid))
