"""Replays a stack: moves the cursor from the oldest layer of a branch to its newest, while the map shows each."""

from collections.abc import Callable, Sequence

from textual.screen import Screen
from textual.timer import Timer

from lamina.tui.model.layers import LayerRow

# Long enough to see what changed, short enough to see it as a motion.
STEP_S = 0.5


class Replay:
    """Steps through the layers of one branch while it runs."""

    def __init__(self, screen: Screen[None], show: Callable[[LayerRow], None], tell: Callable[[bool], None]) -> None:
        """*show* puts the cursor on a layer; *tell* is told whether the replay goes on."""
        self._screen = screen
        self._show = show
        self._tell = tell
        self._left: list[LayerRow] = []
        self._timer: Timer | None = None
        self._seen = True

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._timer is not None

    def begin(self, line: Sequence[LayerRow]) -> None:
        """Play the layers of *line*, the oldest first."""
        self.stop()
        self._left = list(line)
        self._seen = True
        self._timer = self._screen.set_interval(STEP_S, self._step)
        self._tell(True)
        self._step()

    def painted(self) -> None:
        """The memory of the layer under the cursor is on the screen: the next one may come."""
        self._seen = True

    def stop(self) -> None:
        """Stay where it is."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
            self._tell(False)

    def _step(self) -> None:
        if not self._seen:
            return  # a layer that takes long to read must be seen, too
        if not self._left:
            self.stop()
            return
        self._seen = False
        self._show(self._left.pop(0))
