"""What people type: lines after `:` and addresses of page servers, kept from one lamina to the next; the words of a command line."""

import os
import shlex
from pathlib import Path

KEEP = 200
LINES, ADDRESSES = "lines-typed", "page-servers"


def lines_file(name: str = LINES) -> Path:
    """One line each, oldest first; in the XDG state directory, not created here."""
    from platformdirs import user_state_path

    return user_state_path("lamina") / name


def read_lines(name: str = LINES) -> list[str]:
    """The newest `KEEP` lines, oldest first; none if they cannot be read."""
    try:
        return lines_file(name).read_text(errors="replace").splitlines()[-KEEP:]
    except OSError:
        return []


def keep_line(line: str, name: str = LINES) -> None:
    """Append *line* to a file that only the user can read; if that is impossible it is forgotten.

    It is appended, as two laminas may write at once, and the file is cut to `KEEP` lines once it has twice as many.
    """
    file = lines_file(name)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as opened:
            opened.write(line + "\n")
        known = file.read_text(errors="replace").splitlines()
        if len(known) > 2 * KEEP:
            file.write_text("".join(f"{one}\n" for one in known[-KEEP:]))
    except OSError:
        return


def words_of(line: str) -> list[str]:
    """The words of a command line; none if its quotes are wrong."""
    try:
        return shlex.split(line)
    except ValueError:
        return []
