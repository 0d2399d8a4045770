"""The part of the app that hands things out: to the clipboard, to files, to other programs."""

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

from textual import events
from textual.app import SuspendNotSupported
from textual.geometry import Region
from textual.widget import Widget

from lamina.tui import messages, operations
from lamina.tui.app.operation_queue import ActingApp
from lamina.tui.app.type_ahead import Expected, Typed
from lamina.tui.bridge import is_over
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.dialogs.new_program import words_of
from lamina.tui.model import units
from lamina.tui.model.log import Level
from lamina.tui.model.view import PICTURE, View, free_name, why_not
from lamina.tui.operations.core_file import core_path
from lamina.tui.paths import typed_path
from lamina.tui.read.executable import executable
from lamina.tui.terminal.key_codes import bytes_of
from lamina.tui.widgets.log_view import LogView
from lamina.tui.widgets.row_list import RowList

_SHOWN = 50


class OutsideApp(ActingApp):
    """An app whose views can be copied, saved and looked at with other programs."""

    # Waited for, until it has the terminal.
    _gdb: Expected | None = None

    def copy(self, text: str) -> None:
        """To the clipboard of the terminal (OSC 52), and say what."""
        if text:
            self.copy_to_clipboard(text)
            self.notify(f"copied: {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}", timeout=2)
        else:
            self.notify("nothing to copy here", timeout=2)

    def action_copy_row(self) -> None:
        """What the mouse marked, else the row under the cursor."""
        focused = self.focused
        marked = self.screen.get_selected_text()
        if marked:
            self.copy(marked)
        elif isinstance(focused, RowList | LogView):
            self.copy(focused.copy_text())
        else:
            self.copy("")

    def action_save_view(self) -> None:
        """Save what the focused pane shows, or a picture of the screen."""
        view = view_of(self.focused)

        def answered(name: str | None) -> None:
            if name:
                # A picture is of the screen without the question.
                self.call_after_refresh(self._save, view, typed_path(name))

        where = str(getattr(self.screen, "NAME", ""))
        title = f"save {view.content} as {' '.join(view.forms[:-1])}, or the screen as {PICTURE}"
        self.push_screen(AskText(title, "a file name", free_name(view, where), lambda name: why_not(name, view)), answered)

    def _save(self, view: View, path: Path) -> None:
        form = path.suffix
        picture = self.export_screenshot() if form == PICTURE else ""

        def save() -> messages.ViewSaved:
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)  # it may show what memory holds
                with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(picture or view.as_file(form))
            except OSError as error:
                return messages.ViewSaved(f"cannot save {path}: {error.strerror}", failed=True)
            return messages.ViewSaved(f"saved {'the screen' if picture else view.content} in {path}")

        self.bridge.ask("save", save)

    def on_view_saved(self, message: messages.ViewSaved) -> None:
        """A file was written, or not."""
        self.notify(message.text, severity="error" if message.failed else "information")

    def can_run(self, program: str) -> bool:
        """Whether there is such a program here; says so if not."""
        if shutil.which(program) is None:
            self.notify(f"there is no program {program} here: install it, or put it on PATH", severity="warning")
            return False
        return True

    def run_outside(self, command: Sequence[str], given: str | None = None) -> None:
        """Give the terminal to another program until it ends. *given*: its standard input. Says why if it cannot be run."""
        line = shlex.join(command)
        if not self.can_run(command[0]):
            return
        self.note(Level.INFO, f"runs {line}")
        typed = self.type_ahead.take()
        try:
            with self.suspend():
                lost = _type_again(typed)
                status = _run(command, given)
                self.type_ahead.begin_anew()
        except SuspendNotSupported:
            self.notify(f"cannot run {line}: this terminal cannot be given away", severity="warning")
            return
        if lost:
            self.notify(f"{units.counted(lost, 'key', 'keys')} typed for {command[0]} before it was there: not taken", severity="warning")
        if status:
            self.notify(f"{line} ended with status {status}", severity="warning")

    def read_outside(self, text: str) -> None:
        """Show *text* in the user's pager."""
        self.run_outside(pager(os.environ), text)

    def open_gdb(self, layer: Path, pid: int) -> None:
        """gdb on the core file of task *pid* of *layer*, which is written first if there is none yet."""
        if not self.can_run("gdb"):
            return
        core = core_path(layer, pid)

        def find(_written: object = None) -> None:
            looking = self.bridge.ask("the executable", lambda: messages.ExecutableFound(core, executable(layer, pid)))
            self._gdb = self.type_ahead.expect("gdb", lambda: is_over(looking)) if _written is None else None

        if core.exists():
            find()
        else:
            self.do(replace(operations.core(layer, pid), then=find))

    def on_executable_found(self, message: messages.ExecutableFound) -> None:
        """gdb learns its symbols from the program, which it finds by itself only if it is told where."""
        program = [message.executable] if message.executable else []
        # A core file may have taken long to write: gdb must not read what is typed for something else by now.
        self.type_ahead.come(self._gdb, "gdb", lambda: self.run_outside(["gdb", "-q", *program, "-c", str(message.core)]))


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


def view_of(widget: Widget | None) -> View:
    """What *widget* shows: all its rows, or the lines that are on the screen."""
    if isinstance(widget, RowList | LogView):
        return widget.view()
    if widget is None:
        return View("")
    return View(widget.id or "", tuple(strip.text.rstrip() for strip in widget.render_lines(Region(0, 0, *widget.size))))


def pager(environ: Mapping[str, str]) -> list[str]:
    """The user's pager, or less."""
    return words_of(environ.get("PAGER", "")) or ["less"]
