"""Reads the target and its stack, regularly and after each operation, and puts what was read into the session."""

import time
from dataclasses import replace
from pathlib import Path

from textual.message_pump import MessagePump

from lamina.core.errors import LaminaError, TargetError
from lamina.tui import messages
from lamina.tui.bridge import Bridge, is_over
from lamina.tui.model.journal import Journal
from lamina.tui.model.target import Target, look_up
from lamina.tui.read.dirty import DirtyReader
from lamina.tui.read.process_reader import ProcessReader
from lamina.tui.read.stack_reader import StackReader
from lamina.tui.read.stack_watch import StackWatch
from lamina.tui.read.stacks import known_stacks
from lamina.tui.services.current_session import CurrentSession
from lamina.tui.services.notices import Notices
from lamina.tui.services.type_ahead import Expected, TypeAhead

# Counting what a large program wrote takes long: at most one part in so many of the time is spent on it. A quick count is made when asked.
_REST = 10
_OFTEN_S = 0.5


class Reader:
    """What is read for all screens. Questions go through the bridge; the answers come to the methods at the end.

    Attributes:
        processes, stacks, dirty: do the reading in worker threads, and keep what makes the next one quick.
        aimed_at: the process that was chosen last, until it is known; 0 if it is.
        stacks_expected: the list of stacks that was asked for last.
    """

    def __init__(self, app: MessagePump, current: CurrentSession, bridge: Bridge, notices: Notices, type_ahead: TypeAhead) -> None:
        self._app = app
        self._current = current
        self._bridge = bridge
        self._notices = notices
        self._type_ahead = type_ahead
        self.processes = ProcessReader()
        self.stacks = StackReader()
        self.dirty = DirtyReader()
        self.aimed_at = 0
        self.stacks_expected: Expected | None = None
        self._watch = StackWatch()
        self._next_count = 0.0
        self._seen: set[Path] = set()
        # What could not be read, and what the user was told about it.
        self._unread: dict[str, str] = {}

    def aim(self, pid: int, stack: Path | None = None) -> None:
        """Make *pid* the target; *stack*: where its layers are known to be."""
        place = self._current.value.stack_option or stack
        self.aimed_at = pid
        reading = self._bridge.ask("aim", lambda: messages.TargetFound(look_up(pid, place), aimed=True))
        # The next keys are about this process, not about the target before it.
        self._type_ahead.expect(f"process {pid}", lambda: is_over(reading))

    def read_target(self) -> None:
        """Read whether the target is still there, and which layer it is on now."""
        target = self._current.value.target
        if target is not None:
            self._bridge.ask("target", lambda: messages.TargetFound(self._again(target)))

    def count_dirty(self) -> None:
        """Count what the target has written since its last layer, unless an operation runs."""
        target = self._current.value.target
        if target is None or not target.alive or not target.tracker or time.monotonic() < self._next_count:
            return
        if self._bridge.busy_with is None:
            # Not `ask`: a count that takes longer than the interval must still be finished.
            self._bridge.follow("dirty", lambda: self._dirty(target), to=self._app)

    def _dirty(self, target: Target) -> messages.DirtyRead | None:
        began = time.monotonic()
        try:
            return messages.DirtyRead(self.dirty.read(target.identity))
        except LaminaError:
            return None  # it ended meanwhile, which `read_target` says
        finally:
            now = time.monotonic()
            self._next_count = now + _REST * (now - began) - _OFTEN_S

    def find_stacks(self) -> None:
        """List the stacks under the state directory, and those that were opened elsewhere."""
        seen = tuple(self._seen)
        reading = self._bridge.ask("stacks", lambda: messages.StacksFound(known_stacks(also=seen)))
        self.stacks_expected = self._type_ahead.expect("the list of stacks", lambda: is_over(reading), leads=True, give_up=reading.cancel)

    def read_stack(self) -> None:
        """Read the layers of the session's stack."""
        place = self._current.value.stack_dir
        if place is not None:
            self._seen.add(place)
            # First which layers there are, then whether they are whole.
            self._bridge.ask("stack", lambda: self._read(place), lambda: messages.StackRead(self.stacks.judge(place)))

    def _read(self, place: Path) -> messages.StackRead:
        self._watch.changed(place)  # whatever comes after this is a change
        return messages.StackRead(self.stacks.read(place))

    def watch_stack(self) -> None:
        """Read the stack again if somebody else has changed it. What we change ourselves is read when that is done."""
        place = self._current.value.stack_dir
        if place is not None and self._bridge.busy_with is None:
            # Not `ask`: a change is noticed only once, and judging the layers may take longer than the interval.
            self._bridge.follow("changes", lambda: self._changed(place), to=self._app)

    def _changed(self, place: Path) -> messages.StackRead | None:
        return messages.StackRead(self.stacks.judge(place)) if self._watch.changed(place) else None

    def _again(self, target: Target) -> Target:
        option = self._current.value.stack_option
        try:
            now = look_up(target.pid, option)
        except TargetError:
            return replace(target, alive=False, tracker="")
        if now.identity == target.identity:
            # A target whose tracking has ended keeps the stack it had, if it had one: a wrapper may have become another program by exec.
            return now if now.layer or option or not target.stack.is_dir() else replace(now, stack=target.stack)
        # Another process has this pid: the program put back to a layer of this stack, or a stranger.
        kept = now.layer is not None and now.layer.parent == target.stack
        return now if kept else replace(target, alive=False, tracker="")

    def open_stack(self, path: Path) -> None:
        """Show the stack in *path*; its program is the target again once it is put back."""
        session = self._current.value
        before = session.stack_option
        option = path if before is not None else None
        if before not in (None, path):
            self._notices.tell(f"layers go to {path} now, no longer to {before}")
        self._current.replace(replace(session, stack_option=option, target=None, opened=path, dirty=None))
        self.read_stack()

    def what_stays(self, journal: Journal) -> list[str]:
        """For when the screen has closed: which of this session's targets are still tracked, and how to end that."""
        lines = []
        for pid in sorted(journal.pids):
            try:
                target = look_up(pid, None)
            except TargetError:
                continue
            if target.alive and target.tracker:
                lines.append(f"lamina: tracking of {target.name} {pid} stays on; `lamina untrack -t {pid}` ends it")
        return lines

    # -- answers ---------------------------------------------------------------------------------------------------------------------

    def target_found(self, message: messages.TargetFound) -> None:
        """The target was read again, or another one was chosen."""
        session = self._current.value
        known = session.target
        if message.aimed and message.target.pid == self.aimed_at:
            self.aimed_at = 0
        if not message.aimed and (known is None or known.pid != message.target.pid):
            return  # the user chose another meanwhile
        before = session.stack_dir
        dirty = session.dirty if message.target.tracker else None
        self._current.replace(replace(session, target=message.target, dirty=dirty))
        if self._current.value.stack_dir != before:
            self.read_stack()

    def stack_read(self, message: messages.StackRead) -> None:
        """The layers were read again."""
        session = self._current.value
        if message.stack.path == session.stack_dir:
            self._current.replace(replace(session, stack=message.stack))

    def dirty_read(self, message: messages.DirtyRead) -> None:
        """What the target wrote was counted."""
        session = self._current.value
        if session.target is not None and session.target.identity == message.dirty.identity:
            self._current.replace(replace(session, dirty=message.dirty))

    def failed(self, message: messages.ReadFailed) -> None:
        """Something could not be read: say it once, not with every refresh."""
        if message.about == "aim":
            self.aimed_at = 0
        if self._unread.get(message.about) != message.text:
            self._unread[message.about] = message.text
            self._notices.tell(message.text, title=f"cannot read {message.about}", severity="error")
