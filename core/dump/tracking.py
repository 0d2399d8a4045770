"""Beginning and ending tracking by itself: `track` and `untrack`."""

from contextlib import ExitStack

from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import describe, read_maps, tree_of
from lamina.core.attach.tracer import tracer
from lamina.core.dirty.choice import capability_for
from lamina.core.dirty.held import Whose, held_uffds, leftovers, take_over, why_let_alone
from lamina.core.dirty.state import TargetState, load, lock_target
from lamina.core.dump.arming import arm_missing, end_tracking
from lamina.core.dump.preflight import examine, protected
from lamina.core.dump.recover import recover_targets
from lamina.core.dump.watched import WatchedTree
from lamina.core.errors import LaminaError, RefusedError, TargetError
from lamina.core.events import Listener, Notice, ignore


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
