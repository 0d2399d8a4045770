"""Asks which layers a stack is to keep, or whether to empty its trash. Nothing is removed here: a dry run and a question follow."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Label, Static

from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import FORM_KEYS
from lamina.tui.model import units
from lamina.tui.model.layers import StackView

Rules = tuple[str, str, str]
_FIELDS = (
    ("keep-last", "the newest", "10", "layers that can be restored"),
    ("keep-every", "one of every", "10m, 1h, 1d", "the newest of each"),
    ("max-bytes", "at most", "500M, 20G", "on disk, with the trash"),
)


class Tidy(Question[Rules | str | None]):
    """Answers with the rules of a prune, "empty" for the trash, None for Escape."""

    BINDINGS: ClassVar = FORM_KEYS

    def __init__(self, stack: StackView) -> None:
        super().__init__()
        self._stack = stack
        self._why = Static(id="command", markup=False)

    def compose(self) -> ComposeResult:
        """What there is, three rules, three answers."""
        stack = self._stack
        with Vertical(id="dialog") as box:
            box.border_title = Content(f"tidy {stack.path.name}")
            noun = "layer" if len(stack.rows) == 1 else "layers"
            yield Static(f"{len(stack.rows)} {noun}, {units.size(stack.disk_bytes)} on disk. Keep what any rule keeps:", markup=False)
            with Vertical(id="rules"):
                for name, before, example, after in _FIELDS:
                    with Horizontal(classes="rule"):
                        yield Label(before)
                        yield Input(placeholder=example, id=name, compact=True)
                        yield Label(after, classes="after")
            yield Static("Pinned layers and the newest always stay. What goes, goes to the trash.", markup=False)
            with Horizontal(id="answers"):
                yield Button("Cancel", id="answer-cancel", compact=True)
                yield Button("Prune, dry run", id="answer-prune", compact=True)
                trash = Button(self._trash_text(), id="answer-empty", compact=True)
                trash.disabled = not stack.trash
                yield trash
            yield self._why

    def _trash_text(self) -> str:
        count = len(self._stack.trash)
        return f"Empty the trash ({count}, {units.size(self._stack.trash_bytes)})" if count else "The trash is empty"

    def on_mount(self) -> None:
        """The first rule is typed at once."""
        self.query(Input).first().focus()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._prune()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "answer-prune":
            self._prune()
        else:
            self.dismiss("empty" if event.button.id == "answer-empty" else None)

    def _prune(self) -> None:
        last, every, most = (self.query_one(f"#{name}", Input).value.strip() for name, *_ in _FIELDS)
        if why := wrong_rules((last, every, most)):
            self._why.update(why)
        else:
            self.dismiss((last, every, most))


def wrong_rules(rules: Rules) -> str:
    """What is wrong with *rules*, in words; "" if nothing is."""
    from argparse import ArgumentTypeError

    from lamina.core.cli.options.common import byte_count, count, seconds

    if not any(rules):
        return "no rule says what to keep"
    try:
        for read, value in zip((count, seconds, byte_count), rules, strict=True):
            if value:
                read(value)
    except ArgumentTypeError as error:
        return str(error)
    return ""
