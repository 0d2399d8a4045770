"""Asks how often a layer is taken: by the clock, by what is written, or both."""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.widgets import Input, Label, Static

from lamina.core.dump.rhythm import Rhythm
from lamina.core.errors import TargetError
from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import FORM_KEYS
from lamina.tui.model.subject import Subject
from lamina.tui.model.target import look_up
from lamina.tui.operations import command_lines
from lamina.tui.services.base_app import BaseApp
from lamina.tui.theme import DANGER

_FIELDS = (
    ("every", "every", "30s", "a time: 30s, 10m, 1h; empty: only what is written counts"),
    ("dirtied", "or once written", "", "a size: 64M, 1G; empty: only the time counts"),
    ("keep", "keep only the last", "", "a number; empty: all stay"),
)


class TimedDialog(Question[Rhythm | None]):
    """Answers with the rhythm, None for Escape."""

    BINDINGS: ClassVar = FORM_KEYS

    def __init__(self, pid: int, name: str, stack: Path) -> None:
        super().__init__()
        self._pid, self._program, self._stack = pid, name, stack
        self._inputs = {key: Input(value, placeholder=hint, compact=True, id=f"timed-{key}") for key, _, value, hint in _FIELDS}
        self._command = Static(id="command")

    def compose(self) -> ComposeResult:
        """Three lines to fill in, and the command line that does the same."""
        with Vertical(id="dialog") as box:
            box.border_title = Content(f"Timed layers of {self._program} {self._pid}")
            box.border_subtitle = "Tab next · Enter begin · Esc back"
            with Grid(id="timed-fields"):
                for key, title, _, _ in _FIELDS:
                    yield Label(title)
                    yield self._inputs[key]
            yield Static("The first layer is taken at once. T ends it; so does the end of the program, or of lamina.", markup=False)
            yield self._command

    def on_mount(self) -> None:
        """Type at once."""
        self._inputs["every"].focus()

    def _answer(self) -> Rhythm | str:
        """What was asked for, or what is wrong with it."""
        values = {key: field.value.strip() for key, field in self._inputs.items()}
        try:
            return rhythm_of(values["every"], values["dirtied"], values["keep"])
        except ValueError as error:
            return str(error)

    @on(Input.Changed)
    def _changed(self) -> None:
        answer = self._answer()
        wrong = isinstance(answer, str)
        text = answer if isinstance(answer, str) else f"$ {command_lines.every_line(self._pid, self._stack, answer)}"
        self._command.update(Text(text, style=DANGER if wrong else ""))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        answer = self._answer()
        if isinstance(answer, Rhythm):
            self.dismiss(answer)


def rhythm_of(every: str, dirtied: str, keep_last: str) -> Rhythm:
    """What three lines mean, as on the command line.

    Raises:
        ValueError: one of them means nothing, or there is neither a time nor a size.
    """
    from argparse import ArgumentTypeError

    from lamina.core.cli.options.common import byte_count, count, seconds

    try:
        rhythm = Rhythm(
            seconds(every) if every else None, byte_count(dirtied) if dirtied else None, count(keep_last) if keep_last else None
        )
    except ArgumentTypeError as error:
        raise ValueError(str(error)) from None
    if rhythm.dirtied == 0 or rhythm.keep_last == 0:
        raise ValueError("0 means nothing: give 1 or more, or leave it empty")
    if rhythm.every_s is None and rhythm.dirtied is None:
        raise ValueError("give a time, or a size, or both")
    return rhythm


def ask_timed(app: BaseApp, subject: Subject) -> None:
    """Ask how often, and begin."""

    def answered(rhythm: Rhythm | None) -> None:
        if rhythm is not None:
            app.timed.begin(subject.pid, subject.name, stack, rhythm)

    try:
        stack = subject.stack or look_up(subject.pid, app.session.stack_option).stack
    except TargetError as error:
        app.notify(str(error), severity="error")
        return
    app.push_screen(TimedDialog(subject.pid, subject.name, stack), answered)
