"""What a lamina that died left in a target (a scratch range, a tracker of a dump that never came to be): the next command takes it away."""

import os
import time

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import describe
from lamina.core.attach.scratch import is_there, unmap_scratch
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.dirty import state as states
from lamina.core.dump.arming import end_tracking
from lamina.core.dump.watched import WatchedTree
from lamina.core.errors import BusyError, LaminaError, TargetError

# How often a thread is given 10 ms to leave a batch; where it waits for its lamina, that is a second (docs/injection.md).
LOOKS = 150


def recover_targets() -> list[Identity]:
    """Clean every process that a dead lamina left something in; returns them. Costs a directory listing if there is none.

    A process that cannot be cleaned now (held by a debugger) is left for the next time: it runs well as it is.
    """
    states.forget_ended()
    cleaned = []
    for state in states.all_states():
        if _is_stale(state):
            try:
                with states.lock_target(state.identity):
                    tracer().call(_clean, state.identity)
                cleaned.append(state.identity)
            except (BusyError, LaminaError):
                continue
    return cleaned


def _is_stale(state: states.TargetState) -> bool:
    owner = Identity(state.owner_pid, state.owner_start, state.identity.boot)
    if states.is_running(owner) and owner.pid != os.getpid():
        return False
    return bool(state.scratch_len) or _never_came_to_be(state)


def _never_came_to_be(state: states.TargetState) -> bool:
    """Armed, but no layer and no `track` was ever finished on it."""
    return not state.settled and not state.layer_id and state.uffd_fd >= 0


def _clean(identity: Identity) -> None:
    tree = WatchedTree((identity.pid,))
    try:
        task = tree.of(identity.pid)
        state = task.remembered.state
        if state.scratch_len and _is_left(identity.pid, state.scratch_addr, state.scratch_len):
            unmap_scratch(identity.pid, state.scratch_addr, state.scratch_len)
        task.announce_scratch(0, 0)
        if _never_came_to_be(state) and task.armed:
            end_tracking(tree, identity.pid)
        if not (task.armed or state.layer_id):
            task.forget()
    finally:
        tree.close()


def _is_left(pid: int, address: int, size: int) -> bool:
    """Whether the range is there, exactly as it was mapped, and no thread is on its way home through it.

    Raises:
        TargetError: a batch in it does not end.
    """
    for _ in range(LOOKS):
        with FrozenTree(pid) as tree:
            process = tree.processes[0]
            if not is_there(process.areas, address, size):
                return False
            if not process.is_inside(address, size):
                return True
        time.sleep(0.01)
    raise TargetError("cannot clean up", describe(pid), "a batch of an earlier lamina is still running in it")
