"""One task of the tree during a dump: who it is, what is remembered of it, what tracks it, and its memory on the way to the layer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lamina.core.attach.calls import Inside
from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import Area, is_running, read_stat
from lamina.core.dirty import state as states
from lamina.core.dirty.choice import choose_tracker
from lamina.core.dirty.lost import why_ended
from lamina.core.dirty.tracker import Tracker
from lamina.core.dirty.uffd_wp import UffdTracker
from lamina.core.dirty.untracked import UntrackedTracker
from lamina.core.errors import TargetError


class Remembered:
    """The state file of one process, kept in step with what we know."""

    def __init__(self, identity: Identity) -> None:
        self.state = states.load(identity) or states.TargetState(identity)

    def update(self, **changes: Any) -> None:
        """Write the file anew with *changes*, if they change anything."""
        if replace(self.state, **changes) != self.state:
            self.state = states.store(replace(self.state, **changes))

    def forget(self) -> None:
        """Remove the file."""
        states.forget(self.state.identity)
        self.state = states.TargetState(self.state.identity)


class Watched:
    """A task with its tracker.

    Attributes:
        identity, remembered: who it is, and its state file.
        tracker: what reports its changes; one that knows nothing if it cannot be tracked here.
        armed: tracking is going on in it.
        was_armed: it was when we came, so that its dirty bits mean something.
    """

    def __init__(self, pid: int) -> None:
        self.identity = identify(pid)
        self.remembered = Remembered(self.identity)
        self.tracker: Tracker = choose_tracker(self.identity, lambda fd, ino: self.remembered.update(uffd_fd=fd, uffd_ino=ino))
        self._claimed = bool(self.remembered.state.uffd_ino)
        self.armed = self.was_armed = isinstance(self.tracker, UffdTracker) and self.tracker.adopt()

    @property
    def can_track(self) -> bool:
        """Whether its changes can be tracked at all."""
        return isinstance(self.tracker, UffdTracker)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.identity.pid

    @property
    def why_lost(self) -> str:
        """Why tracking that went on is over, or nothing is known in spite of it; "" if none was lost."""
        state = self.remembered.state
        if self._claimed and not self.was_armed:
            return self._why_not_armed()
        return self.why_nothing_is_known(state.layer_id) if self.was_armed and state.layer_id else ""

    def why_nothing_is_known(self, layer_id: str) -> str:
        """Why its dirty bits do not count from the layer *layer_id*, in words; "" if they do."""
        state = self.remembered.state
        if isinstance(self.tracker, UntrackedTracker):
            return f"it cannot be tracked: {self.tracker.reason}"
        if not self.was_armed:
            return self._why_not_armed()
        if not state.layer_id:
            return "it is tracked, but stands on no layer"
        if not state.settled:
            return "an earlier dump did not finish, so what changed since is not known"
        return "" if state.layer_id == layer_id else f"the tracker counts from {state.layer_dir}"

    def _why_not_armed(self) -> str:
        return why_ended(self.remembered.state) if self._claimed else "no tracking was going on"

    def is_current(self, areas: list[Area]) -> bool:
        """Whether the process is still the one that was opened, and runs the program it ran then. *areas*: its mappings now."""
        try:
            self.tracker.peek(areas[:1])
            return identify(self.pid) == self.identity
        except TargetError:
            return False

    def arm(self, inside: Inside, areas: list[Area]) -> None:
        """Begin tracking, inside a freeze."""
        self.tracker.arm(inside, areas)
        self._armed_now()

    def arm_running(self) -> bool:
        """Begin tracking while it runs on; False if that takes a freeze (`arm`)."""
        if not isinstance(self.tracker, UffdTracker) or not self.tracker.arm_running():
            return False
        self._armed_now()
        return True

    def _armed_now(self) -> None:
        self.remembered.update(tracker=self.tracker.name, program=read_stat(self.pid).start_stack)
        self.armed = True

    def announce_scratch(self, address: int, size: int) -> None:
        """Write down where the scratch range is, so that it can be found if we die."""
        self.remembered.update(scratch_addr=address, scratch_len=size)

    def unsettle(self) -> None:
        """From here on the dirty bits belong to no layer: said before the first page is protected."""
        if self.armed:
            self.remembered.update(settled=False)

    def settle(self, layer_id: str, layer_dir: str, shared: str = "") -> None:
        """The dirty bits count from this layer: said after its commit. *shared*: see `TargetState.shared`."""
        tracker = self.tracker.name if self.armed else ""
        self.remembered.update(layer_id=layer_id, layer_dir=layer_dir, settled=True, tracker=tracker, shared=shared)

    def forget(self) -> None:
        """Nothing of lamina is left in it."""
        self.remembered.forget()
        self.armed = False

    def close(self) -> None:
        """Let go of our own descriptors."""
        self.tracker.close()


class WatchedTree:
    """The tasks of a tree, found as they come: those that preflight saw, and those that appear until the freeze."""

    def __init__(self, pids: tuple[int, ...]) -> None:
        """*pids*: the root first; others that have ended by now are left out."""
        self._tasks: dict[int, Watched] = {}
        for pid in pids:
            try:
                if pid == pids[0] or is_running(pid):
                    self.of(pid)
            except TargetError:
                if pid == pids[0] or is_running(pid):
                    raise

    def of(self, pid: int) -> Watched:
        """The task *pid*, opened if it is new."""
        if pid not in self._tasks:
            self._tasks[pid] = Watched(pid)
        return self._tasks[pid]

    def renew(self, pid: int) -> Watched:
        """Open the task *pid* again: its program was replaced (exec), or the pid is another process's by now."""
        self._tasks.pop(pid).close()
        return self.of(pid)

    def alive(self) -> list[Watched]:
        """Those that still run."""
        found = []
        for task in self._tasks.values():
            try:
                if identify(task.pid) == task.identity:
                    found.append(task)
            except TargetError:
                continue
        return found

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._tasks.values()))

    def announce_scratch(self, pid: int, address: int, size: int) -> None:
        """See `Watched.announce_scratch`."""
        self.of(pid).announce_scratch(address, size)

    def close(self) -> None:
        """Close all."""
        for task in self:
            task.close()
