"""A question before something is destroyed: the object, the effect, the command line, and the safe answer first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Button, Static

from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import DIALOG_KEYS


@dataclass(frozen=True)
class Choice:
    """One answer.

    Attributes:
        key: what `Confirm` returns.
        label: what the button says.
        danger: it destroys something.
        worst: it cannot be undone at all. Arrow keys skip it, only Tab reaches it.
        command: the command line that does the same, shown while the button has the focus; "" keeps what is shown.
    """

    key: str
    label: str
    danger: bool = False
    command: str = ""
    worst: bool = False


class Confirm(Question[str | None]):
    """Answers with the key of the chosen `Choice`, None for Escape. The first choice is the safe one and has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = DIALOG_KEYS

    def __init__(self, title: str, lines: Sequence[str | Text], choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._choices = choices
        # The answers stay visible however much there is to read.
        self._text = VerticalScroll(id="lines", can_focus=False)

    def compose(self) -> ComposeResult:
        """A box in the middle."""
        with Vertical(id="dialog") as box:
            box.border_title = Content(self._title)  # names in it are no markup
            worst = next((choice.label for choice in self._choices if choice.worst), "")
            box.border_subtitle = f"Esc {self._choices[0].label} · " + (f"Tab to {worst}, Enter" if worst else "← → Enter")
            with self._text:
                for line in self._lines:
                    yield Static(line, markup=False)
            with Horizontal(id="answers"):
                for choice in self._choices:
                    button = Button(choice.label, id=f"answer-{choice.key}", compact=True)
                    button.set_class(choice.danger or choice.worst, "-danger")
                    yield button
            yield Static(self._command(self._choices[-1].key) or Text(), id="command")

    def on_mount(self) -> None:
        """Focus the safe answer, so that Enter gives it."""
        self.query(Button).first().focus()

    def action_page(self, by: int) -> None:
        """Read on, or back."""
        (self._text.scroll_page_down if by > 0 else self._text.scroll_page_up)(animate=False)

    def action_answer(self, by: int) -> None:
        """Focus the next answer, or the one before; never the worst one."""
        near = [button for button, choice in zip(self.query(Button), self._choices, strict=True) if not choice.worst]
        at = near.index(self.focused) + by if isinstance(self.focused, Button) and self.focused in near else 0
        self.set_focus(near[max(0, min(at, len(near) - 1))])

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Show what the answer would run."""
        if command := self._command((event.widget.id or "").removeprefix("answer-")):
            self.query_one("#command", Static).update(command)

    def _command(self, key: str) -> Text | None:
        command = next((choice.command for choice in self._choices if choice.key == key), "")
        return Text(f"$ {command}") if command else None

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self.dismiss((event.button.id or "").removeprefix("answer-"))
