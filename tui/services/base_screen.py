"""The base of all screens: one that has keys of its own."""

from typing import ClassVar

from lamina.tui.textual_private import QuickScreen


class BaseScreen(QuickScreen):
    """A screen with keys of its own; `NAME` is what people call it."""

    NAME: ClassVar[str] = ""

    def is_ready_for(self, key: str) -> bool:
        """Whether it has read what *key*, as Textual names it, is about; the key waits for that."""
        return True
