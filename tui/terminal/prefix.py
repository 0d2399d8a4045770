"""Whose a key is while a program has the keyboard: the program's, unless it follows the prefix."""

from enum import Enum, auto

# After these the prefix stays in force for a moment, so that they can be repeated.
WALKING = frozenset({"up", "down"})


class Whose(Enum):
    """Who gets a key."""

    PROGRAM = auto()
    LAMINA = auto()
    NOBODY = auto()


class Prefix:
    """The prefix, and the key after it.

    Attributes:
        key: the prefix, as Textual names it.
        armed: the next key is lamina's.
    """

    def __init__(self) -> None:
        self.key = "ctrl+g"
        self.armed = False
        self._walking = False

    def whose(self, key: str) -> Whose:
        """Who gets *key*, as Textual names it. The prefix pressed twice goes to the program once; Escape cancels the prefix."""
        if not self.armed:
            self.armed, self._walking = key == self.key, False
            return Whose.NOBODY if self.armed else Whose.PROGRAM
        if key == self.key and self._walking:
            self._walking = False  # after arrow keys it is the prefix of the next key, not one for the program
            return Whose.NOBODY
        self.armed = self._walking = key in WALKING
        if key == self.key:
            return Whose.PROGRAM
        return Whose.NOBODY if key == "escape" else Whose.LAMINA
