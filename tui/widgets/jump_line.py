"""The `:` line: where to go and what to do, by name. Tab completes, up and down go through what was typed, Esc leaves."""

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from lamina.tui.bridge import is_over
from lamina.tui.keys.keymap import JUMP_LINE_KEYS
from lamina.tui.services.base_app import BaseApp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.tui.keys.actions import Action


class JumpLine(Horizontal):
    """Hidden until `:` is pressed; then above the keys."""

    BINDINGS: ClassVar[list[BindingType]] = JUMP_LINE_KEYS

    def __init__(self) -> None:
        super().__init__(id="jump-line")
        self._input = Input(placeholder="processes, stack DIR, layer 3, pid 4711, theme …", compact=True, select_on_focus=False)
        self._hint = Static(id="jump-hint")
        self._from: Widget | None = None
        self._actions: Mapping[str, Action] = {}
        self._at = 0
        self._tried: list[str] = []

    @property
    def _lamina(self) -> BaseApp:
        return cast(BaseApp, self.app)

    def compose(self) -> ComposeResult:
        """The line, and next to it how it can be completed or what is wrong with it."""
        yield Label(":")
        yield self._input
        yield self._hint

    def on_mount(self) -> None:
        """Out of sight."""
        self.display = False

    def open(self, begun: str = "") -> None:
        """Type now, after *begun*."""
        from lamina.tui.keys.jumps import actions_by_name

        self._from = self.screen.focused
        self._actions = actions_by_name(self._lamina)
        self._at = len(self._lamina.history.lines)
        self._put(begun)
        self._hint.update("")
        self.display = True
        # Not `focus`, which comes later than the next letter.
        self.screen.set_focus(self._input)

    def action_leave(self) -> None:
        """Hide the line, and go back to what had the focus."""
        self.display = False
        if self._input.has_focus:
            self.screen.set_focus(self._from)

    def action_older(self, by: int) -> None:
        """A line typed before."""
        typed = self._lamina.history.lines
        self._at = max(0, min(self._at + by, len(typed)))
        self._put(typed[self._at] if self._at < len(typed) else "")

    def _put(self, line: str) -> None:
        self._input.value = line
        self._input.cursor_position = len(line)

    @on(Input.Changed)
    def _list(self, event: Input.Changed) -> None:
        event.stop()
        if event.value not in self._tried:
            self._tried = []
            self._complete(False)

    def action_complete(self) -> None:
        """Complete as far as that is unambiguous, then offer one possibility after the other."""
        if self._input.value in self._tried:
            self._put(self._tried[(self._tried.index(self._input.value) + 1) % len(self._tried)])
        else:
            completing = self._complete(True)
            # What is typed next comes behind what is completed.
            self._lamina.type_ahead.expect("what fits", lambda: is_over(completing))

    @work(exclusive=True, group="completions")
    async def _complete(self, take: bool) -> None:
        from lamina.tui.keys.jumps import completions

        line = self._input.value
        found = await completions(self._lamina, line, self._actions) if line.strip() or take else []
        if line != self._input.value:
            return
        if take and found:
            common = found[0][
                : next((at for at, letters in enumerate(zip(*found, strict=False)) if len(set(letters)) > 1), min(map(len, found)))
            ]
            if len(common) > len(line):
                self._put(common)
            else:
                self._tried = found
                self._put(found[0])
        self._hint.remove_class("-wrong")
        words = [value[line.rfind(" ") + 1 :] for value in found]
        self._hint.update(Text("  ".join(words), no_wrap=True, overflow="ellipsis"))

    @on(Input.Submitted)
    def _go(self, event: Input.Submitted) -> None:
        event.stop()
        line = event.value.strip()
        if not line:
            self.action_leave()
            return
        # Before it is carried out: what it opens may take the focus.
        self.action_leave()
        self._lamina.history.add(line)
        from lamina.tui.keys.jumps import follow

        follow(self._lamina, line, self._actions, self._unclear)

    def _unclear(self, why: str) -> None:
        """Say why, and let the user correct the line."""
        self.workers.cancel_group(self, "completions")
        self.display = True
        self.screen.set_focus(self._input)
        self._hint.add_class("-wrong")
        self._hint.update(Text(why, no_wrap=True, overflow="ellipsis"))
