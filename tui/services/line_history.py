"""What was typed after `:`, in this lamina and in those before it."""

from lamina.tui import messages
from lamina.tui.bridge import Bridge
from lamina.tui.model.typed import keep_line, read_lines


class LineHistory:
    """The lines of one app.

    Attributes:
        lines: oldest first.
    """

    def __init__(self, bridge: Bridge) -> None:
        self.lines: list[str] = []
        self._bridge = bridge

    def read(self) -> None:
        """Read what was typed in earlier laminas."""
        self._bridge.ask("lines typed before", lambda: messages.LinesRemembered(tuple(read_lines())))

    def remembered(self, message: messages.LinesRemembered) -> None:
        """Older than any that were typed since."""
        self.lines[:0] = message.lines

    def add(self, line: str) -> None:
        """*line* was typed."""
        if line not in self.lines[-1:]:
            self.lines.append(line)
            self._bridge.ask(f"line typed {len(self.lines)}", lambda: keep_line(line))
