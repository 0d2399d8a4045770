"""How the command line speaks: results on standard output, everything else on standard error, and one log.

`Output` is handed to every verb. Nothing else of core prints.
"""

import dataclasses
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from lamina.core.errors import LaminaError, in_one_line
from lamina.core.events import Event, Notice, Progress

log = logging.getLogger("lamina")
PAGE = os.sysconf("SC_PAGE_SIZE")

# A phase younger than this says nothing yet about how long it will take.
SETTLED_US = 300_000


def _plain(value: Any) -> Any:
    # What json itself does not know. Dataclasses are read field by field: asdict would copy arrays.
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if not f.name.startswith("_")}
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return value.hex() if isinstance(value, bytes) else str(value)


def as_json(value: Any) -> str:
    """*value* as one JSON object on one line: dataclasses become objects, sets sorted lists, bytes hex, anything else text."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def size(count: float) -> str:
    """Bytes for eyes: "3.2 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def pages(count: int) -> str:
    """ "812 pages (3.2 MiB)"."""
    return f"{count:,} page{'' if count == 1 else 's'} ({size(count * PAGE)})"


def duration(us: float) -> str:
    """µs for eyes: "840 µs", "3.8 ms", "1.21 s"."""
    if us < 1000:
        return f"{us:.0f} µs"
    return f"{us / 1000:.1f} ms" if us < 1_000_000 else f"{us / 1_000_000:.2f} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Columns under *head*, two blanks apart; those in *right* are aligned to the right, the last is not padded.

    Labels, names and command lines are anybody's: what would move a cursor is escaped.
    """
    rows = [[cell if cell.isprintable() else in_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if n in right else cell.ljust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    )


def default_log() -> Path:
    """Where the log is when none was named: the XDG state directory."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "lamina" / "lamina.log"


def open_log(named: str | None, images_dir: Path | None, verbosity: int) -> Path:
    """Direct the log to a file, which comes into being with its first line; returns its path."""
    path = default_log() if named is None else (images_dir or Path()) / named
    # A log in a directory that does not exist would hide the error that the verb is about to report.
    if named is None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.parent.is_dir() and os.access(path.parent, os.W_OK):
        handler: logging.Handler = logging.FileHandler(path, delay=True)
    else:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel((logging.WARNING, logging.INFO)[verbosity] if verbosity < 2 else logging.DEBUG)
    return path


class Output:
    """What a verb says.

    Attributes:
        json: one object instead of text.
        log_path: where the log is.
    """

    def __init__(self, json_wanted: bool, log_path: Path, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json_wanted
        self.log_path = log_path
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._live = self._err.isatty()
        self._shown = False
        self._last = 0.0
        self._phase = ("", 0)

    def listen(self, event: Event) -> None:
        """A `Listener` of the engine: a live line on a terminal, plain lines of notices elsewhere."""
        if isinstance(event, Notice):
            self.note(event.text)
            return
        log.debug("%s", event)
        now = time.monotonic()
        if self._live and (now - self._last > 0.05 or (event.total and event.done == event.total)):
            self._last = now
            self._draw(event)

    def _draw(self, event: Progress) -> None:
        share = f"{100 * event.done // event.total:3d} %" if event.total else ""
        count = f"{event.done:,}" + (f" of {event.total:,} pages" if event.total else " pages")
        if event.phase != self._phase[0]:
            self._phase = (event.phase, event.elapsed_us)
        took_us = event.elapsed_us - self._phase[1]
        rate = f"{size(event.done_bytes / (took_us / 1e6))}/s" if event.done_bytes and took_us else ""
        left = ""
        if 0 < event.done < event.total and took_us > SETTLED_US:
            left = f"{duration(took_us * (event.total - event.done) // event.done)} left"
        line = "  ".join(part for part in (event.phase, share, count if event.done or event.total else "", rate, left) if part)
        self._err.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        self._err.flush()
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self._err.write("\r\x1b[K")
            self._err.flush()
            self._shown = False

    def note(self, text: str) -> None:
        """A sentence for the user, on standard error."""
        self._clear()
        log.info("%s", text)
        self._err.write(f"lamina: {text}\n")
        self._err.flush()

    def columns(self) -> int:
        """How wide a line of the answer may be: the terminal's width; without a terminal nothing is cut."""
        return shutil.get_terminal_size().columns if self._out.isatty() else 1 << 20

    def result(self, value: Any, text: str) -> None:
        """The verb's answer: *value* as one JSON object, or *text*."""
        self._clear()
        self._out.write((as_json(value) if self.json else text) + "\n")
        self._out.flush()

    def write(self, parts: Iterable[bytes]) -> None:
        """An answer of bytes, or too long to be held: *parts*, one after the other, exactly as they are."""
        self._clear()
        self._out.flush()
        for part in parts:
            self._out.buffer.write(part)
        self._out.flush()

    def error(self, error: LaminaError) -> None:
        """One line on standard error; with `--json` also the fields, as an object under `error`."""
        self._clear()
        log.info("%s", error, exc_info=error)
        self._err.write(f"lamina: {error}\n")
        self._err.flush()
        if self.json:
            fields = {field.name: getattr(error, field.name) for field in dataclasses.fields(error)}
            self._out.write(as_json({"error": {"type": type(error).__name__, "message": str(error)} | fields}) + "\n")
            self._out.flush()

    def crash(self, error: BaseException) -> None:
        """An error nobody foresaw: one line, and the traceback in the log."""
        log.error("unexpected", exc_info=error)
        where = f"; the log is {self.log_path}" if self.log_path.exists() else ""
        self.error(LaminaError("lamina failed", type(error).__name__, " ".join(str(error).split()) + where))
