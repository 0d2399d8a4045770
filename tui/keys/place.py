"""A screen as a place where keys mean something."""

from typing import ClassVar

from textual.screen import Screen


class Place(Screen[None]):
    """A screen with keys of its own; `WHERE` is what people call it."""

    WHERE: ClassVar[str] = ""
