"""Trackers into the tasks of a tree, and out again. Runs on the tracer thread."""

import time
from collections.abc import Callable, Collection
from contextlib import suppress

from lamina.core.attach.guarded import Guarded, is_filtered, loses_its_wait
from lamina.core.attach.procfs import threads_of
from lamina.core.attach.tree import FrozenTree
from lamina.core.dirty.held import leftovers
from lamina.core.dump.watched import Watched, WatchedTree
from lamina.core.errors import TargetError

# How long the first dump of a program waits for one of its threads to come out of a wait with a timeout, s.
GOOD_MOMENT_S = 0.1


def frozen(tree: WatchedTree, root: int) -> FrozenTree:
    """The tree below *root*, to be frozen by `with`; the scratch ranges of known tasks are mapped now."""
    still = FrozenTree(root, tree.announce_scratch)
    try:
        for task in tree.alive():
            still.prepare(task.pid)
    except BaseException:
        still.abandon()
        raise
    return still


def arm_missing(tree: WatchedTree, root: int) -> None:
    """Every task that can be tracked and is not yet gets its tracker: while it runs if that can be, else in one short freeze of all."""
    for task in tree.alive():
        if task.can_track and not task.armed:
            with suppress(TargetError):  # it has ended, or the freeze says what is wrong
                _wait_for_a_good_moment(task.pid)
                task.arm_running()
    if all(task.armed or not task.can_track for task in tree.alive()):
        return
    with frozen(tree, root) as still:
        for process in still:
            task = tree.of(process.pid)
            if task.can_track and not task.armed:
                still.prepare_scratch(process)
                task.arm(process.leader, process.areas)


def _wait_for_a_good_moment(pid: int) -> None:
    """A program all of whose threads sleep in waits that would begin anew is given a moment to wake up by itself."""
    deadline = time.monotonic() + GOOD_MOMENT_S
    while all(loses_its_wait(pid, tid) for tid in threads_of(pid)) and time.monotonic() < deadline:
        time.sleep(GOOD_MOMENT_S / 100)


def end_tracking(tree: WatchedTree, root: int, which: Callable[[Watched], bool] = lambda _: True) -> None:
    """Take tracking out of every task that *which* accepts: pages first, while they run, then the descriptor in a short freeze.

    A task that merely inherited a copy of its parent's descriptor over fork loses that, too. One that came under seccomp meanwhile is not
    frozen: its descriptor is closed by a guardian.
    """
    ending = [task for task in tree.alive() if (task.armed or leftovers(task.identity)) and which(task)]
    if not ending:
        return
    for task in ending:
        if task.armed:
            task.tracker.disarm(None)
    filtered = [task for task in ending if is_filtered(task.pid)]
    for task in filtered:
        task.tracker.disarm(Guarded(task.pid))
    pids = {task.pid for task in ending if task not in filtered}
    try:
        if pids:
            _disarm_frozen(tree, root, pids)
    except TargetError:
        # A thread that does not stop, or in which no call can be made: the descriptor goes all the same, through another one.
        for task in ending:
            if task.pid in pids and leftovers(task.identity):
                task.tracker.disarm(Guarded(task.pid))
    for task in ending:
        task.armed = False
        task.remembered.update(uffd_fd=-1, uffd_ino=0, tracker="")


def _disarm_frozen(tree: WatchedTree, root: int, pids: Collection[int]) -> None:
    with frozen(tree, root) as still:
        for process in still:
            if process.pid in pids:
                still.prepare_scratch(process)
                tree.of(process.pid).tracker.disarm(process.leader)
