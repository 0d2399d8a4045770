"""Whose a key is while a program has the keyboard: the program's, unless it follows the prefix."""

from enum import Enum, auto

# After these the prefix goes on for a moment: one walks with them.
WALKING = frozenset({"up", "down"})


class Whose(Enum):
    """Who gets a key."""

    PROGRAM = auto()
    LAMINA = auto()
    NOBODY = auto()


class Prefix:
    """Waits for the key after the prefix.

    Attributes:
        key: the prefix, as Textual names it.
        armed: the next key is lamina's.
    """

    def __init__(self) -> None:
        self.key = "ctrl+g"
        self.armed = False
        self._walking = False

    def whose(self, key: str) -> Whose:
        """Who gets *key*, as Textual names it, now. The prefix twice is the program's; Escape takes the prefix back."""
        if not self.armed:
            self.armed, self._walking = key == self.key, False
            return Whose.NOBODY if self.armed else Whose.PROGRAM
        if key == self.key and self._walking:
            self._walking = False  # one who walked there types the prefix of the next key, and does not mean the program
            return Whose.NOBODY
        self.armed = self._walking = key in WALKING
        if key == self.key:
            return Whose.PROGRAM
        return Whose.NOBODY if key == "escape" else Whose.LAMINA
