"""Beginning and ending tracking: `track`, `untrack`, and what a dump needs of both. Runs on the tracer thread."""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress

from lamina.core.attach.guarded import Guarded, is_filtered, loses_its_wait
from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import describe, read_maps, threads_of, tree_of
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.dirty.choice import capability_for
from lamina.core.dirty.held import Whose, held_uffds, leftovers, take_over, why_let_alone
from lamina.core.dirty.state import TargetState, load, lock_target
from lamina.core.dump.preflight import examine, protected
from lamina.core.dump.recover import recover_targets
from lamina.core.dump.watched import Watched, WatchedTree
from lamina.core.errors import LaminaError, RefusedError, TargetError
from lamina.core.events import Listener, Notice, ignore

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


def track(pid: int, listener: Listener = ignore) -> TargetState:
    """Begin tracking the tree below *pid*, without a layer: what the screen shows as changed counts from now. Returns the root's state.

    Raises:
        RefusedError: something stands in the way; nothing was touched.
        TargetError: memory cannot be tracked here.
    """
    recover_targets()
    return tracer().call(_track, pid, listener)


def _track(pid: int, listener: Listener) -> TargetState:
    examination = examine(pid, shell_job=True)
    if examination.blockers:
        raise RefusedError("cannot track", describe(pid), blockers=examination.blockers)
    identity = identify(pid)
    able = capability_for(identity)
    if not able.available:
        raise TargetError("cannot track", describe(pid), able.reason, "dump it without --track-mem")
    with ExitStack() as stack:
        stack.enter_context(lock_target(identity))
        tree = WatchedTree(examination.pids)
        stack.callback(tree.close)
        if tree.of(pid).armed and tree.of(pid).remembered.state.layer_id:
            listener(Notice(f"{describe(pid)} is already tracked, since layer {tree.of(pid).remembered.state.layer_dir}"))
            return tree.of(pid).remembered.state
        try:
            arm_missing(tree, pid)
            for task in tree.alive():
                task.unsettle()
                task.tracker.protect(read_maps(task.pid), live=True)
                task.settle("", "")
        except BaseException:
            try:
                end_tracking(tree, pid, lambda task: not task.was_armed)
            finally:
                for task in tree.alive():
                    if not task.armed and not task.remembered.state.layer_id and not task.remembered.state.scratch_len:
                        task.forget()
            raise
        return tree.of(pid).remembered.state


def untrack(pid: int, force: bool = False) -> bool:
    """End tracking in the tree below *pid*; its mappings, descriptors and masks are as before lamina came.

    Args:
        force: also the tracking of a lamina that keeps its notes elsewhere: another user's, or one in another container.

    Returns False if there was none.

    Raises:
        TargetError: no such process.
        RefusedError: a process that lamina never touches, or one that another lamina tracks.
    """
    recover_targets()
    return tracer().call(_untrack, pid, force)


def _untrack(pid: int, force: bool) -> bool:
    reason = protected(pid)
    if reason:
        raise RefusedError("cannot untrack", describe(pid), reason)
    identity = identify(pid)
    with ExitStack() as stack:
        stack.enter_context(lock_target(identity))
        pids = tuple(tree_of(pid))
        for each in pids:
            _let_go(each, force)
        tree = WatchedTree(pids)
        stack.callback(tree.close)
        if not any(task.armed or leftovers(task.identity) for task in tree):
            return False
        end_tracking(tree, pid)
        for task in tree:
            task.remembered.update(settled=False)
            if not task.remembered.state.layer_id:
                task.forget()
        return True


def _let_go(pid: int, force: bool) -> None:
    """What another lamina left in *pid* counts as ours, if *force* says so.

    Raises:
        RefusedError: there is something, and it does not.
    """
    try:
        identity = identify(pid)
        if not any(held.whose is Whose.ELSEWHERE for held in held_uffds(identity)):
            return
        if not force:
            raise RefusedError("cannot untrack", describe(pid), ": ".join(why_let_alone(identity)))
        take_over(identity)
    except TargetError:
        return  # it ended meanwhile


def standing_of(pid: int) -> TargetState | None:
    """What lamina remembers of *pid*: the tracker in it and the layer it stands on; None if nothing. Touches nothing."""
    try:
        return load(identify(pid))
    except LaminaError:
        return None
