"""The emulator of an attachment: it emulates what the program writes, and regularly has the holder keep the screen."""

from collections import deque
from collections.abc import Callable

from lamina.tui.terminal.attachment import Attachment, Event, Output, Resized
from lamina.tui.terminal.emulator import Emulator, saved_size

# Output since the holder was last given the screen, bytes: the next lamina that attaches has to emulate it again.
_KEEP_AFTER = 1 << 17


class Follower:
    """Takes the events of *line* in order.

    Attributes:
        emulator: what the terminal shows.
        problem: why the screen from before cannot be read; it began blank then.
    """

    def __init__(self, line: Attachment, emulator: Emulator | None = None) -> None:
        """*emulator*: one that already shows the screen at which the output of *line* begins."""
        self.line = line
        self.problem = ""
        self._marks: deque[tuple[int, Callable[[], None]]] = deque()
        self._kept = line.place
        self.emulator = emulator or self._begun()
        self.emulator.answer_to(line.answer)

    def _begun(self) -> Emulator:
        line = self.line
        try:
            if line.screen:
                emulator = Emulator(*saved_size(line.screen), _nobody)
                emulator.load(line.screen)
                if emulator.size != line.size:
                    emulator.resize(*line.size)
                return emulator
        except ValueError as error:
            self.problem = str(error)
        return Emulator(*line.size, _nobody)

    def take(self) -> Event | None:
        """The next event, whose output was emulated; None if there is none yet."""
        self._reach()
        event = self.line.take()
        if isinstance(event, Output):
            self._feed(event.data)
        elif isinstance(event, Resized):
            self.emulator.resize(event.columns, event.lines)
        return event

    def _feed(self, data: bytes) -> None:
        line = self.line
        while self._marks and self._marks[0][0] < line.place + len(data):
            here = max(0, self._marks[0][0] - line.place)
            self.emulator.feed(data[:here])
            line.place += here
            data = data[here:]
            self._reach()
        self.emulator.feed(data)
        line.place += len(data)
        self._reach()
        if line.place - self._kept >= _KEEP_AFTER:
            self.keep()

    def mark(self, place: int, reached: Callable[[], None]) -> None:
        """Have `take` call *reached* when exactly the output before *place* was emulated. Any thread."""
        self._marks.append((place, reached))

    def _reach(self) -> None:
        while self._marks and self._marks[0][0] <= self.line.place:
            self._marks.popleft()[1]()

    def resize(self, columns: int, lines: int) -> None:
        """Resize the emulator and the program's window."""
        self.line.resize(columns, lines)
        if self.emulator.size != (columns, lines):
            self.emulator.resize(columns, lines)

    def keep(self) -> None:
        """Have the holder keep the screen."""
        self._kept = self.line.place
        self.line.keep(self.emulator.save())


def _nobody(_answer: bytes) -> None:
    """Ignore an answer that cannot be sent yet."""
