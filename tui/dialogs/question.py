"""The base of all dialogs: it answers once, and closes only itself."""

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

from lamina.tui.textual_private import is_on_top

Answer = TypeVar("Answer")


class Question(ModalScreen[Answer]):
    """A dialog. Keys typed ahead may answer it once more when it is on its way out: Textual would then close whatever is on top, and end
    the app if that is the last screen.
    """

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Answer with *result*, if this dialog is on top."""
        return super().dismiss(result) if is_on_top(self) else AwaitComplete()
