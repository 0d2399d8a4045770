"""Type-ahead: keys that are pressed before what the last key opened is there.

A key is meant for what is on the screen, or for what the keys before it are about to open: a screen, a dialog, a line to type into. So one
key is let through, and the next ones wait until everything that it leads to has been done: messages, mounting, focus, layout, and readings
in threads that end in a question. A key that waits is never lost silently, and never acts on something it was not meant for:

* If a dialog or line does not open after all (no layer to be labelled, nothing for a dedup to free), the keys typed for it, up to the first
  pause or Escape, are discarded, and the user is told so.
* A question that comes by itself, like that of a dry run that took too long to be waited for, is asked when nothing is being typed.
* That keys wait is shown. It ends after `PATIENCE_S`, or by Escape or Ctrl-C.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto

from textual import events
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input

from lamina.tui.services.destinations import OPEN_A_CHOICE, OPEN_A_LINE
from lamina.tui.services.key_rules import KeyRules, Typed
from lamina.tui.services.quiet import is_quiet, let_all_pass
from lamina.tui.textual_private import OpenApp

# How long keys wait for something that a thread has to find out, and after which time that is shown.
PATIENCE_S = 10.0
_SHOWN_AFTER_S = 0.15
# Keys that follow each other faster than that are typed in one go.
PAUSE_S = 0.5
# A key pressed so soon after a question has come by itself was not meant for it: nobody reads that fast.
_READ_S = 0.3
# If nothing has been idle for so long, there is more to do than the processor can handle.
_OVERLOADED_S = 0.3
# How often this is checked; at first with each turn of the event loop.
_TURNS, _CHECK_S = 8, 0.001
_LATE_CHECK_S = 0.1
# Keys that may well end a program.
_ENDING = ("enter", "ctrl+c", "ctrl+d", "ctrl+backslash")

_MOVES = (events.MouseMove, events.MouseScrollUp, events.MouseScrollDown, events.MouseScrollLeft, events.MouseScrollRight)


class Asked(Enum):
    """What a key asked for: a line to type into, a choice, or nothing of the kind."""

    NOTHING = auto()
    CHOICE = auto()
    LINE = auto()


@dataclass(eq=False)
class Expected:
    """Something that a key asked for, and that a thread or a task will bring.

    Attributes:
        what: for people, as in "the dry run of dedup of layer 3".
        is_over: whether it has come, or is known not to come.
        leads: it ends in a question. If none is asked then, the keys typed for it are discarded.
        give_up: called when Escape takes it back; None if it cannot be taken back.
        until: it asks questions in between, and is waited for after each key until this is true, however long that takes.
    """

    what: str
    is_over: Callable[[], bool]
    leads: bool = False
    give_up: Callable[[], object] | None = None
    until: Callable[[], bool] | None = None
    since: float = field(default_factory=time.monotonic)


class TypeAhead:
    """Lets keys, pasted text and the mouse through one after the other.

    Attributes:
        settled: nothing waits, and all that was let through has been done.
        count: how many were let through.
    """

    def __init__(self, app: OpenApp, rules: KeyRules, show_waiting: Callable[[str], None]) -> None:
        """*show_waiting* shows what keys wait for; "" hides that."""
        self._app = app
        self._rules = rules
        self._show_waiting = show_waiting
        self._waiting: deque[Typed] = deque()
        self._expected: list[Expected] = []
        self._late: list[tuple[str, Callable[[], object]]] = []
        # Let through, and on its way back to the app's queue of messages.
        self._let: deque[Typed] = deque()
        self._closed = self._shown = False
        self.settled = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.count = 0
        # When the newest of those that were let through or discarded was typed (time.monotonic).
        self._typed_at = 0.0
        # What the key that is being handled asked for, and where; whether the keys after it are discarded, and since when.
        self._asked = Asked.NOTHING
        self._place: tuple[object, object, object] | None = None
        self._refused = Asked.NOTHING
        self._refused_at = 0.0
        # The line that the newest key was typed into, if it was a letter.
        self._line: Widget | None = None
        self._to_program = self._ends = False
        self._dropped: list[str] = []
        self._came_at = self._begun_at = 0.0

    # -- from the app ----------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, once the event loop runs. To be called in the context of the app: what is let through may be handled in this task."""
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name="type ahead")
        self._task.add_done_callback(self._tell_failure)
        self._wake.set()

    def _tell_failure(self, task: asyncio.Task[None]) -> None:
        # Without a screen the app has ended.
        if not task.cancelled() and isinstance(error := task.exception(), Exception) and self._app.screen_stack:
            self._app.crash(error)

    def close(self) -> None:
        """The app is left: keys are discarded from now on."""
        self._closed = True
        self._waiting.clear()

    async def stop(self) -> None:
        """The event loop ends."""
        self.close()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def lets(self, event: Typed) -> bool:
        """Whether *event* may be handled now. If not, it is posted again when its turn has come, or is discarded."""
        if self._let and event is self._let[0]:
            self._let.popleft()
            return True
        if self._closed or event.time < self._begun_at or self._ends_waiting(event):
            return False
        if not (self._waiting or self._let) and (
            self._goes_on_typing(event) or (self.settled and self._rules.ready_for(event) and not self._rules.takes_what_is_found(event))
        ):
            return self._admit(event)
        self._waiting.append(event)
        self._unsettle()
        return False

    def expect(
        self,
        what: str,
        is_over: Callable[[], bool],
        *,
        leads: bool = False,
        give_up: Callable[[], object] | None = None,
        until: Callable[[], bool] | None = None,
    ) -> Expected:
        """Let keys wait from now on for *what*. The arguments are the attributes of `Expected`."""
        expected = Expected(what, is_over, leads, give_up, until)
        self._expected.append(expected)
        self._unsettle()
        return expected

    def asks_for(self, action: str) -> None:
        """Note that *action* is run, which may open something; or that a key asked for it that only works on another screen."""
        name = action.partition("(")[0].rpartition(".")[2]
        if name in OPEN_A_LINE or name in OPEN_A_CHOICE:
            self._asked = Asked.LINE if name in OPEN_A_LINE else Asked.CHOICE

    def asks_for_nothing(self) -> None:
        """The action that is run opens nothing this time."""
        self._asked = Asked.NOTHING

    def come(self, about: Expected | None, what: str, ask: Callable[[], object]) -> None:
        """Call *ask*, which opens something that takes the keyboard: at once if *about* is waited for, else when nothing is being typed."""
        if about is not None and about in self._expected:
            ask()
            return
        self._late.append((what, ask))
        if self._may_come():
            self._let_come()
        else:
            self._app.notify(f"{what}: comes when nothing is being typed", timeout=3)
            self._app.set_timer(_LATE_CHECK_S, self._let_come)

    def take(self) -> list[Typed]:
        """Take away what waits: another program will read it."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def begin_anew(self) -> None:
        """Another program has had the terminal: what was typed until now was meant for that."""
        self._begun_at = time.monotonic()
        self._asked = Asked.NOTHING

    # -- one after the other ---------------------------------------------------------------------------------------------------------

    async def _go_on(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._settle()
            while self._waiting:
                if not self._goes_on_typing(self._waiting[0]):
                    await self._until_ready_for(self._waiting[0])
                if self._waiting and self._admit(event := self._waiting.popleft()):
                    self._let.append(event)
                    self._app.post_message(event)
                    if not self._to_program and not (self._waiting and self._goes_on_typing(self._waiting[0])):
                        await self._settle()
            self.settled = not self._wake.is_set()

    async def _until_ready_for(self, event: Typed) -> None:
        """Return when *event* can be handled, or was taken away."""
        began = time.monotonic()
        while self._waiting and self._waiting[0] is event and not self._rules.ready_for(event):
            if (waited := time.monotonic() - began) > PATIENCE_S:
                self._rules.wait_no_more()
                self._let_go()
                break
            self._show(waited)
            await asyncio.sleep(_CHECK_S)
        self._hide()
        if self._rules.takes_what_is_found(event):
            await self._settle()  # what was found last is still to be shown

    def _unsettle(self) -> None:
        self.settled = False
        self._wake.set()

    def _admit(self, event: Typed) -> bool:
        """Whether *event* is let through, rather than discarded. From then on others wait, unless it changes nothing."""
        if isinstance(event, _MOVES):
            return True
        before, self._typed_at = self._typed_at, event.time
        if isinstance(event, events.Key) and (apart := self._rules.typed_apart(event)):
            self._waiting.extendleft(reversed(apart))
            self._unsettle()
            return False
        if self._to_program and (left_at := self._rules.program_left_at):
            # The program has ended while the user typed to it: perhaps unnoticed, perhaps because of what was typed.
            self._refused, self._refused_at = Asked.CHOICE if self._ends else Asked.LINE, left_at
        if isinstance(event, events.Key | events.Paste) and self._is_for_nobody(event, before):
            self._drop(event)
            return False
        self._refused = Asked.NOTHING
        self.count += 1
        self._to_program = self._rules.goes_to_program(event)
        self._ends = isinstance(event, events.Key) and event.key in _ENDING
        if not self._to_program:
            self._line = self._app.focused if _is_text(event) and isinstance(self._app.focused, Input) else None
            self._asked, self._place = Asked.NOTHING, self._where()
            self._unsettle()
        return True

    def _goes_on_typing(self, event: Typed) -> bool:
        """Whether *event* is one more letter for the line that the key before it was typed into. Letters arrive there in order anyway."""
        return self._line is not None and self._line is self._app.focused and _is_text(event) and not self._expected

    def _is_for_nobody(self, event: Typed, before: float) -> bool:
        if event.time < self._came_at + _READ_S:
            return True
        if self._refused is Asked.LINE:
            return event.time - before < PAUSE_S  # people go on typing a text before they have seen that there is no line for it
        return self._refused is Asked.CHOICE and event.time < self._refused_at

    def _drop(self, event: Typed) -> None:
        text = event.text if isinstance(event, events.Paste) else ""
        if isinstance(event, events.Key):
            text = event.character if event.is_printable and event.character else f"<{event.key}>"
            if event.key == "escape":
                self._refused = Asked.NOTHING
        if not self._dropped:
            self._app.set_timer(PAUSE_S, self._tell_dropped)
        self._dropped.append(text)

    def _tell_dropped(self) -> None:
        if self._refused is Asked.LINE and time.monotonic() - self._typed_at < PAUSE_S:
            self._app.set_timer(PAUSE_S, self._tell_dropped)
        elif self._dropped:
            text, self._dropped = "".join(self._dropped), []
            self._app.notify(f"typed for something that did not open, so not taken: {text}", severity="warning")

    # -- settling --------------------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Return when everything that was let through has been done."""
        began, turns, passed = time.monotonic(), 0, False
        try:
            while not self._closed:
                turns += 1
                await asyncio.sleep(0 if turns < _TURNS else _CHECK_S)
                now = time.monotonic()
                over = self._are_over(now)
                if passed or is_quiet(self._app):
                    if over:
                        break
                elif now - began > _OVERLOADED_S:
                    await let_all_pass(self._app)
                    passed = over
                self._show(now - began)
        finally:
            self._hide()
        self._judge()

    def _are_over(self, now: float) -> bool:
        """Whether nothing is waited for any more."""
        for expected in list(self._expected):
            if now - expected.since > PATIENCE_S and not expected.until and not expected.is_over():
                self._expected.remove(expected)
                self._let_go()
        return all(expected.is_over() for expected in self._expected)

    def _judge(self) -> None:
        """If what was asked for did not open, what was typed for it must not reach what is shown instead."""
        leading = any(expected.leads for expected in self._expected)
        self._expected = [expected for expected in self._expected if expected.until is not None and not expected.until()]
        asked = Asked.CHOICE if leading else self._asked
        if asked is not Asked.NOTHING and not self._closed:
            before, now = self._place or (None, None, None), self._where()
            base, dialog, line = (is_ is not None and is_ is not was for was, is_ in zip(before, now, strict=True))
            if not (dialog or (not leading and (line or base))):
                self._refused, self._refused_at = asked, time.monotonic()
        self._asked = Asked.NOTHING

    def _where(self) -> tuple[object, object, object]:
        """The screen, the dialog on it, and the line that has the focus."""
        stack, focused = self._app.screen_stack, self._app.focused
        return stack[0], stack[-1] if isinstance(stack[-1], ModalScreen) else None, focused if isinstance(focused, Input) else None

    def _let_go(self) -> None:
        """Wait no longer, and discard what waits: it was typed for something that is not there."""
        keys = [event for event in self.take() if not isinstance(event, events.MouseEvent)]
        if keys:
            self._refused, self._refused_at = Asked.CHOICE, time.monotonic()
            self._typed_at = keys[-1].time
            for event in keys:
                self._drop(event)

    # -- what ends it, and what shows it ---------------------------------------------------------------------------------------------

    def _ends_waiting(self, event: Typed) -> bool:
        """Whether *event* is Escape or Ctrl-C, was pressed when it could be seen that keys wait, and has ended the wait.

        An Escape behind other keys that wait is one of them, unless it is pressed twice.
        """
        if (
            not self._shown
            or not isinstance(event, events.Key)
            or event.key not in ("escape", "ctrl+c")
            or self._rules.goes_to_program(event)
        ):
            return False
        last = self._waiting[-1] if self._waiting else None
        if event.key == "escape" and last is not None and not (isinstance(last, events.Key) and last.key == "escape"):
            return False
        taken_back = [expected.give_up for expected in self._expected if expected.give_up is not None]
        self._expected.clear()
        self._let_go()
        self._refused = self._asked = Asked.NOTHING
        for give_up in taken_back:
            give_up()
        if event.key == "ctrl+c" or not (taken_back or last):
            self._waiting.append(event)
        return True

    def _show(self, waited: float) -> None:
        if waited < _SHOWN_AFTER_S:
            return
        what = next((expected.what for expected in self._expected), "")
        count = sum(not isinstance(event, events.MouseEvent) for event in self._waiting)
        back = "Esc Esc" if count else "Esc"
        if what or count:
            self._shown = True
            keys = f"{count} key{'' if count == 1 else 's'} wait{'s' if count == 1 else ''} for" if count else "waiting for"
            self._show_waiting(f"… {keys} {what or 'the screen'} · {back} takes it back")

    def _hide(self) -> None:
        if self._shown:
            self._shown = False
            self._show_waiting("")

    # -- what comes by itself --------------------------------------------------------------------------------------------------------

    def _may_come(self) -> bool:
        app = self._app
        if not self.settled or self._waiting or time.monotonic() - self._typed_at <= PAUSE_S:
            return False  # also while the app ends, when there is no screen
        return not (isinstance(app.screen, ModalScreen) or isinstance(app.focused, Input) or self._rules.program_has_keyboard)

    def _let_come(self) -> None:
        if not self._late or self._closed:
            return
        if self._may_come():
            _, ask = self._late.pop(0)
            self._came_at = time.monotonic()
            self._unsettle()
            ask()
        if self._late:
            self._app.set_timer(_LATE_CHECK_S, self._let_come)


def _is_text(event: Typed) -> bool:
    return isinstance(event, events.Paste) or (isinstance(event, events.Key) and event.is_printable)
