"""One program in a terminal of ours. What it writes is emulated on the event loop in small portions, with time for keys in between."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lamina.core.errors import TargetError
from lamina.tui.terminal.attachment import Ended, Event, Gone, Reported, Size, Taken, UpToDate
from lamina.tui.terminal.emulator import Emulator
from lamina.tui.terminal.follower import Follower
from lamina.tui.terminal.leader import Held

# A portion takes an unnoticeable time; after one that took longer than this, other tasks have their turn.
_SHARE_S = 0.002
_PATIENCE_S = 3.0
# How long a dump waits for the screen, s. The program runs on meanwhile.
_KNOWN_S = 10.0


class Terminal:
    """A terminal and the program in it, also after restores of the program.

    Attributes:
        pid: the program; name: what to call it.
        emulator: what the terminal shows; another one after a restore.
        alive: the program runs and is shown here; elsewhere: it runs, and another lamina has taken it over.
        seen: it was on the screen.
        stack: where its layers are, once that is known.
        ending: how it ended, in words; "" while it runs.
    """

    def __init__(self, size: Size, changed: Callable[["Terminal"], None]) -> None:
        """*changed* is called whenever it shows something else, or ended."""
        self.pid, self.name = 0, ""
        self.alive, self.ending, self.seen, self.elsewhere = False, "", False, False
        self.stack: Path | None = None
        self._size = size
        self._changed = changed
        self._follower: Follower | None = None
        self._reading = self._up_to_date = False
        self._failed = ""
        self.emulator = Emulator(*size, lambda _answer: None)

    # -- the program -----------------------------------------------------------------------------------------------------------------

    def hold(self, held: Held) -> None:
        """Show *held* from now on. The program before it has ended, or is about to.

        Raises:
            ValueError: its screen cannot be read. It runs, on a blank screen.
        """
        self._let_go()
        self.pid, self.name, self.alive, self.elsewhere, self.ending = held.pid, held.name, True, False, ""
        self._up_to_date, self._failed = False, str(held.line.status["failed"])
        self._follower = Follower(held.line, self.emulator if held.leaves_screen else None)
        self.emulator = self._follower.emulator
        if held.leaves_screen:
            self._follower.keep()
        self._resume()
        self._changed(self)
        if self._follower.problem:
            raise ValueError(self._follower.problem)

    @property
    def holder(self) -> int:
        """The process that holds it; 0 if that has ended, or another lamina has taken the terminal over."""
        return self._follower.line.holder if self._follower is not None else 0

    def _let_go(self) -> None:
        """Detach from a program that has ended, or is about to, and whose end was seen."""
        if self._follower is not None:
            self._pause()
            self._follower.line.seen()
            self._follower = None

    def leave(self) -> None:
        """Detach. A program that runs goes on and waits for the next lamina; so does the last screen of one that has ended unseen."""
        if self._follower is None:
            return
        if self.alive:
            self._follower.keep()
        if self.seen and not self.alive:
            self._let_go()
        else:
            self._pause()
            self._follower.line.close()
            self._follower = None
        self.alive = False

    async def end(self) -> None:
        """Hang up, which sends SIGHUP to the program, and wait for a while until it has ended."""
        follower, self.alive = self._follower, False
        if follower is not None:
            self._pause()
            self._follower = None
            await asyncio.to_thread(follower.line.end)

    # -- what it writes --------------------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        if self._follower is not None and not self._reading:
            self._reading = True
            loop = asyncio.get_running_loop()
            loop.add_reader(self._follower.line, self._pump)
            loop.call_soon(self._pump)

    def _pause(self) -> None:
        if self._follower is not None and self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._follower.line)

    def _pump(self) -> None:
        """Emulate a portion of the output, and give other tasks as much time as that took."""
        began, took = time.monotonic(), 0.0
        while self._follower is not None and took < _SHARE_S:
            event = self._follower.take()
            if event is None:
                break
            self._happened(event)
            took = time.monotonic() - began
        else:
            if self._reading:
                self._pause()
                asyncio.get_running_loop().call_later(took, self._resume)
        self._changed(self)

    def _happened(self, event: Event) -> None:
        if isinstance(event, UpToDate):
            # From now on the output is for our size. After a restore the window had the size of that layer, so the program is
            # told, and draws itself anew.
            self._up_to_date = True
            self._set_size()
        elif isinstance(event, Reported):
            # A start that was begun by a lamina that has ended.
            self.pid, self._failed = event.report.get("runs", self.pid), event.report.get("failed", self._failed)
        elif isinstance(event, Ended):
            self.alive, self.ending, self.seen = False, self._failed or _in_words(event.code), False
            self._pause()
        elif isinstance(event, Taken | Gone):
            self._lost(event)

    def _lost(self, event: Taken | Gone) -> None:
        follower = self._follower
        if follower is None:
            return
        self._pause()
        follower.line.close()
        self._follower = None
        if self.alive:
            self.alive, self.elsewhere = False, isinstance(event, Taken)
            self.ending = (
                f"runs on, and lamina {event.by} shows it" if isinstance(event, Taken)
                else f"lost its terminal, as its holder, process {follower.line.holder}, was ended; it got SIGHUP"
            )  # fmt: skip

    # -- what is typed, and the window -----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Type *data*. Up to 1 MiB that the program has not read yet waits in the holder."""
        if self._follower is not None and self.alive:
            self._follower.line.type(data)

    def resize(self, columns: int, lines: int) -> None:
        """Resize the window."""
        if (columns, lines) != self._size and columns > 0 and lines > 0:
            self._size = columns, lines
            if self.alive and self._up_to_date:
                self._set_size()

    def _set_size(self) -> None:
        if self._follower is not None:
            self._follower.resize(*self._size)

    @property
    def size(self) -> Size:
        """Columns, lines."""
        return self._size

    # -- for its layers --------------------------------------------------------------------------------------------------------------

    def keeper(self) -> "Keeper | None":
        """The companion that puts its screen into the layer of the next dump; None if it has ended."""
        loop = asyncio.get_running_loop()
        return Keeper(self, lambda: loop.call_soon_threadsafe(self._pump)) if self.alive else None

    def mark(self, reached: Callable[[], None]) -> None:
        """Have *reached* called once exactly the output before this call was emulated. Any thread; quick.

        Raises:
            TargetError: there is no attachment any more.
        """
        follower = self._follower
        if follower is None:
            raise TargetError("the screen of the terminal", why="it is gone")
        follower.mark(follower.line.place_now(), reached)

    def last_screen(self) -> str:
        """The screen of a program that has ended, with all that it has written. Waits for that for a while."""
        until = time.monotonic() + _PATIENCE_S
        while self._follower is not None and self.alive and (rest := until - time.monotonic()) > 0:
            if self._follower.line.wait(rest):
                event = self._follower.take()
                if event is not None:
                    self._happened(event)
        return self.emulator.save()


class Keeper:
    """The `Companion` of a dump: keeps the screen exactly as of the freeze, even if the output before it is emulated later."""

    def __init__(self, terminal: Terminal, wake: Callable[[], object]) -> None:
        # Not the emulator: the dump may wait for a restore, after which there is another one.
        self._terminal, self._wake = terminal, wake
        self._shown = ""
        self._known = threading.Event()

    def frozen(self) -> None:
        """Mark the end of the output so far."""
        self._terminal.mark(self._reached)
        self._wake()

    def _reached(self) -> None:
        self._shown = self._terminal.emulator.save()
        self._known.set()

    def files(self) -> Mapping[str, bytes]:
        """The screen, as a file of the layer.

        Raises:
            TargetError: the event loop has ended, or is too busy.
        """
        from lamina.core.image.sidecar import TERMINAL_NAME

        if not self._known.wait(_KNOWN_S):
            raise TargetError("the screen of the terminal", why="it was not known in time")
        return {TERMINAL_NAME: self._shown.encode()}


def _in_words(code: int) -> str:
    if code > 128:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(code - 128).name}"
    return f"has ended with exit status {code}"
