"""What every dialog has: it answers once, and takes only itself away."""

from contextlib import suppress
from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette
from textual.events import Mount
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

Answer = TypeVar("Answer")


def _on_top(screen: Screen[Answer]) -> bool:
    return screen.app.screen_stack[-1:] == [screen]


class Question(ModalScreen[Answer]):
    """A dialog. Keys typed ahead may answer it once more when it is on its way out: Textual would then close whatever is on top, and end
    the app if that is the last screen.
    """

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Answer with *result*, if this is what is asked just now."""
        return super().dismiss(result) if _on_top(self) else AwaitComplete()


class ActionPalette(CommandPalette):
    """The palette, which keys typed ahead can close before it has opened, or twice."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close it, if it is what is shown just now. What is still looked for would be shown in a list that is no more."""
        self.workers.cancel_node(self)
        return super().dismiss(result) if _on_top(self) else AwaitComplete()

    def _on_mount(self, event: Mount) -> None:
        # Its list is made of the screen below it, and there is none if it was closed meanwhile.
        if not _on_top(self):
            event.prevent_default()

    def _on_input_changed(self, event: Input.Changed) -> None:
        # A letter that was typed before it closed, or the app ended, is read after that.
        if not _on_top(self) or not self.query(CommandList):
            event.prevent_default()

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):  # a page down in a list that has no lines yet
            super()._action_command_list(action)
