"""The part of the app that leaves: by key, by signal, with its terminal gone, or by a bug of ours. The terminal is given back each time."""

import asyncio
import os
import signal
import sys
import termios
import threading
import time
import traceback
from pathlib import Path

from textual import work

from lamina.core.errors import in_one_line
from lamina.tui.app.terminals import HoldingApp
from lamina.tui.bridge import is_over
from lamina.tui.dialogs.leave import leave_dialog
from lamina.tui.dialogs.question import Question

# How long leaving may take once the terminal is gone: while the engine works, and while it does not.
LAST_RESORT_S = 5.0
IDLE_LAST_RESORT_S = 0.5


class LeavingApp(HoldingApp):
    """An app that leaves its terminal as it found it."""

    # One line for people about how it ended; "" if somebody asked for it.
    last_words = ""

    def obey_signals(self) -> None:
        """Leave when the system asks. Called once the event loop runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.told_to_leave, number)
        loop.add_signal_handler(signal.SIGHUP, self.hung_up)

    def action_leave(self) -> None:
        """Leave; ask first while the engine works."""
        leaving = self._leave()
        # What is typed waits for the question, and once that is answered for the end.
        self.type_ahead.expect(
            "the end",
            lambda: is_over(leaving) or isinstance(self.screen, Question),
            until=lambda: is_over(leaving),
            give_up=leaving.cancel,
        )

    async def action_quit(self) -> None:
        """Textual's own name for it."""
        self.action_leave()

    @work(exclusive=True, group="leave")
    async def _leave(self) -> None:
        job = self.journal.running
        if job is not None and self.bridge.busy_with is not None:
            if await self.push_screen_wait(leave_dialog(job)) != "leave":
                return
            self.take_back_all()
            self.bridge.cancel()
        await self.bridge.wait_idle()
        if await self.programs_may_end():
            self.exit()

    def told_to_leave(self, number: signal.Signals) -> None:
        """Told from outside: cancel what runs and leave without a question, with the status shells give to that signal."""
        self.last_words = f"lamina: ended by {number.name}; what ran was cancelled, the targets run on"
        self.take_back_all()
        self.bridge.cancel()
        self.exit(return_code=128 + number)

    def hung_up(self) -> None:
        """The terminal is gone, or somebody says so. Writing to one that is gone fails, Textual's writer thread ends of that, and the app
        would wait for it for ever.

        So nothing is written there any more; if the writer was quicker, the rest ends the hard way, which the engine survives.
        """
        gone = not _is_there()
        patience = IDLE_LAST_RESORT_S if gone and self.bridge.busy_with is None else LAST_RESORT_S
        last_resort = threading.Timer(patience, os._exit, (128 + signal.SIGHUP,))
        last_resort.daemon = True
        last_resort.start()
        if gone:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(nowhere, fd)
        self.told_to_leave(signal.SIGHUP)

    def crashed(self, error: Exception) -> None:
        """The traceback goes to a file, and one line says where."""
        if not self.last_words:
            self.last_words = f"lamina: internal error: {type(error).__name__}: {error}; {_keep(error)}"
        self.bridge.cancel()


def _is_there() -> bool:
    """Whether our terminal is: one that hung up has no settings."""
    try:
        termios.tcgetattr(0)
    except termios.error:
        return False
    return True


def crash_log() -> Path:
    """Where tracebacks go, in the XDG state directory; not created here."""
    from platformdirs import user_state_path

    return user_state_path("lamina") / "crash.log"


def _keep(error: Exception) -> str:
    """Append the traceback of *error* to the log; says in words where it is."""
    log = crash_log()
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} pid {os.getpid()}\n")
            file.writelines(traceback.format_exception(error))
    except OSError as failure:
        return f"its traceback is lost: {failure}"
    return f"its traceback is in {log}"


def run(app: LeavingApp) -> int:
    """Run *app* on this terminal and say afterwards how it ended, if nobody asked for that. Returns the exit code."""
    app.run(mouse=app.session.settings.mouse)
    if app.last_words:
        print(in_one_line(app.last_words), file=sys.stderr)
    return app.return_code or 0
