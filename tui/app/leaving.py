"""Leaves the app: by key, by signal, with its terminal gone, or by a bug of ours. The terminal is given back each time."""

import asyncio
import os
import signal
import termios
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.tui import operations
from lamina.tui.bridge import is_over
from lamina.tui.dialogs.leave import leave_dialog, leave_programs_dialog
from lamina.tui.dialogs.question import Question
from lamina.tui.model import journal
from lamina.tui.services.base_app import BaseApp

if TYPE_CHECKING:
    from lamina.tui.terminal.terminal import Terminal

# How long leaving may take once the terminal is gone: while the engine works, and while it does not.
LAST_RESORT_S = 5.0
IDLE_LAST_RESORT_S = 0.5


class Leaving:
    """How *app* ends.

    Attributes:
        last_words: one line for people about how it ended; "" if somebody asked for it.
    """

    def __init__(self, app: BaseApp) -> None:
        self._app = app
        self.last_words = ""

    def obey_signals(self) -> None:
        """Leave when the system asks. Called once the event loop runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.told_to_leave, number)
        loop.add_signal_handler(signal.SIGHUP, self.hung_up)

    def leave(self) -> None:
        """Leave; ask first while the engine works, and while programs run in our terminals."""
        leaving = self._app.run_worker(self._leave(), exclusive=True, group="leave")
        # What is typed waits for the question, and once that is answered for the end.
        self._app.type_ahead.expect(
            "the end",
            lambda: is_over(leaving) or isinstance(self._app.screen, Question),
            until=lambda: is_over(leaving),
            give_up=leaving.cancel,
        )

    async def _leave(self) -> None:
        app = self._app
        job = app.journal.running
        if job is not None and app.bridge.busy_with is not None:
            if await app.push_screen_wait(leave_dialog(job)) != "leave":
                return
            app.queue.take_back_all()
            app.bridge.cancel()
        await app.bridge.wait_idle()
        if await self._programs_may_end():
            app.exit()

    async def _programs_may_end(self) -> bool:
        """Ask what is to become of the programs in our terminals, which run on by themselves; False: stay."""
        running = [terminal for terminal in self._app.terminals.all if terminal.alive and terminal.seen]
        if not running:
            return True
        question = leave_programs_dialog([f"{it.name} {it.pid}" for it in running], self._app.session.readonly)
        answer = await self._app.push_screen_wait(question)
        if answer == "end":
            await asyncio.gather(*(terminal.end() for terminal in running))
        if answer != "dump":
            return answer in ("leave", "end")
        for terminal in running:
            if terminal.alive and not await self._dump_and_end(terminal):
                return False
        return True

    async def _dump_and_end(self, terminal: "Terminal") -> bool:
        option = self._app.session.stack_option
        operation = operations.dump(terminal.pid, terminal.name, option, final=True, companion=terminal.keeper())
        if not self._app.do(operation):
            return False
        job = self._app.journal.of(operation)
        while job.state in (journal.WAITING, journal.RUNNING):
            await asyncio.sleep(0.02)
        return job.state == journal.DONE

    def told_to_leave(self, number: signal.Signals) -> None:
        """Told by a signal: cancel what runs and leave without a question, with the status shells give to that signal."""
        self.last_words = f"lamina: ended by {number.name}; what ran was cancelled, the targets run on"
        self._app.queue.take_back_all()
        self._app.bridge.cancel()
        self._app.exit(return_code=128 + number)

    def hung_up(self) -> None:
        """The terminal is gone, or somebody says so. Writing to one that is gone fails, Textual's writer thread ends of that, and the app
        would wait for it for ever.

        So nothing is written there any more; if the writer was quicker, the rest ends the hard way, which the engine survives.
        """
        gone = not _is_there()
        patience = IDLE_LAST_RESORT_S if gone and self._app.bridge.busy_with is None else LAST_RESORT_S
        last_resort = threading.Timer(patience, os._exit, (128 + signal.SIGHUP,))
        last_resort.daemon = True
        last_resort.start()
        if gone:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(nowhere, fd)
        self.told_to_leave(signal.SIGHUP)

    def crashed(self, error: Exception) -> None:
        """By a bug of ours: the traceback goes to a file, and one line says where."""
        if not self.last_words:
            self.last_words = f"lamina: internal error: {type(error).__name__}: {error}; {_keep(error)}"
        self._app.bridge.cancel()


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
