"""A screen as a place where keys mean something."""

from typing import ClassVar

from textual.screen import Screen

# Actions that lead to another place: where one types, and where one chooses. When it does not come (there is no layer to be labelled), what
# was typed for it is not for the place that is there instead.
TO_TYPE = frozenset({
    "address", "elsewhere", "export", "filter", "find", "import", "jump_line", "label", "new_program", "pin", "receive", "relink",
    "save_view", "search", "send", "tidy", "timed",
})  # fmt: skip
TO_CHOOSE = frozenset({
    "columns", "command_palette", "compare", "compare_live", "dedup", "drop", "final", "help", "image", "jump_mode", "open", "rest",
    "restore", "squash",
})  # fmt: skip


class Place(Screen[None]):
    """A screen with keys of its own; `WHERE` is what people call it."""

    WHERE: ClassVar[str] = ""

    def is_ready_for(self, key: str) -> bool:
        """Whether it has read what *key*, as Textual names it, is about; the key waits for that."""
        return True
