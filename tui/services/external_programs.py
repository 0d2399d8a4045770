"""Gives the terminal to another program until it ends: a pager, gdb, an editor, a command of the user's."""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App, SuspendNotSupported

from lamina.tui import messages, operations
from lamina.tui.bridge import Bridge, is_over
from lamina.tui.model import units
from lamina.tui.model.log import Level
from lamina.tui.model.typed import words_of
from lamina.tui.operations.core_file import core_path
from lamina.tui.read.executable import executable
from lamina.tui.services.key_rules import Typed
from lamina.tui.services.notices import Notices
from lamina.tui.services.operation_queue import OperationQueue
from lamina.tui.services.type_ahead import Expected, TypeAhead
from lamina.tui.terminal.key_codes import bytes_of


class ExternalPrograms:
    """Runs them for one app."""

    def __init__(self, app: App[Any], bridge: Bridge, notices: Notices, queue: OperationQueue, type_ahead: TypeAhead) -> None:
        self._app = app
        self._bridge = bridge
        self._notices = notices
        self._queue = queue
        self._type_ahead = type_ahead
        # gdb, which is waited for until it has the terminal.
        self._gdb: Expected | None = None

    def can_run(self, program: str) -> bool:
        """Whether there is such a program here; says so if not."""
        if shutil.which(program) is None:
            self._notices.tell(f"there is no program {program} here: install it, or put it on PATH", severity="warning")
            return False
        return True

    def run(self, command: Sequence[str], given: str | None = None) -> None:
        """Give the terminal to another program until it ends. *given*: its standard input. Says why if it cannot be run."""
        line = shlex.join(command)
        if not self.can_run(command[0]):
            return
        self._notices.note(Level.INFO, f"runs {line}")
        typed = self._type_ahead.take()
        try:
            with self._app.suspend():
                lost = _type_again(typed)
                status = _run(command, given)
                self._type_ahead.begin_anew()
        except SuspendNotSupported:
            self._notices.tell(f"cannot run {line}: this terminal cannot be given away", severity="warning")
            return
        if lost:
            self._notices.tell(
                f"{units.counted(lost, 'key', 'keys')} typed for {command[0]} before it was there: not taken", severity="warning"
            )
        if status:
            self._notices.tell(f"{line} ended with status {status}", severity="warning")

    def read(self, text: str) -> None:
        """Show *text* in the user's pager."""
        self.run(pager(os.environ), text)

    def open_gdb(self, layer: Path, pid: int) -> None:
        """gdb on the core file of task *pid* of *layer*, which is written first if there is none yet."""
        if not self.can_run("gdb"):
            return
        core = core_path(layer, pid)

        def find(_written: object = None) -> None:
            reading = self._bridge.ask("the executable", lambda: messages.ExecutableFound(core, executable(layer, pid)))
            self._gdb = self._type_ahead.expect("gdb", lambda: is_over(reading)) if _written is None else None

        if core.exists():
            find()
        else:
            self._queue.do(replace(operations.core(layer, pid), then=find))

    def executable_found(self, message: messages.ExecutableFound) -> None:
        """gdb learns its symbols from the program, which it finds by itself only if it is told where."""
        program = [message.executable] if message.executable else []
        # A core file may have taken long to write: gdb must not read what is typed for something else by now.
        self._type_ahead.come(self._gdb, "gdb", lambda: self.run(["gdb", "-q", *program, "-c", str(message.core)]))


def _type_again(typed: Sequence[Typed]) -> int:
    """Put keys that were read already back into the terminal, for the program that is to read them; how many could not be (without
    privileges Linux allows it only where dev.tty.legacy_tiocsti is 1).
    """
    keys = [event for event in typed if isinstance(event, events.Key | events.Paste)]
    for number, event in enumerate(keys):
        data = event.text.encode() if isinstance(event, events.Paste) else bytes_of(event.key, event.character)
        try:
            for byte in data:
                fcntl.ioctl(0, termios.TIOCSTI, bytes([byte]))
        except OSError:
            return len(keys) - number
    return 0


def _run(command: Sequence[str], given: str | None) -> int:
    """Its exit status; 127 if it cannot be started."""
    try:
        with _interrupts_left_out():
            return subprocess.run(command, input=given, text=True, errors="replace", check=False).returncode
    except OSError:
        return 127


@contextmanager
def _interrupts_left_out() -> Iterator[None]:
    """Ctrl-C is meant for the other program. Signals that tell us to leave are heard afterwards, when the event loop goes on.

    asyncio learns of signals by a byte in its wakeup descriptor, whatever the handler does: for the time being they go into a pipe of ours.
    """
    heard, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(wakeup)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(wakeup)
        signals = os.read(heard, 4096).replace(bytes([signal.SIGINT]), b"")
        os.close(heard)
        if before >= 0 and signals:
            os.write(before, signals)


def pager(environ: Mapping[str, str]) -> list[str]:
    """The user's pager, or less."""
    return words_of(environ.get("PAGER", "")) or ["less"]
