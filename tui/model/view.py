"""What a pane shows, in a form that can be saved: rows with titles, or plain lines."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.tui.paths import is_directory, is_there, typed_path

PICTURE = ".svg"


@dataclass(frozen=True)
class View:
    """The content of a pane, also of rows that are not on the screen.

    Attributes:
        name: of the pane, for a file name, as in "jobs".
        lines: as text.
        titles: of the columns; empty if there are no rows.
        rows: as shown.
        records: the same rows with exact values, for JSON; empty if what is shown is exact.
    """

    name: str
    lines: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    records: tuple[Any, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        """The endings of files it can be saved as, the most useful first; the last is a picture of the whole screen."""
        return (".csv", ".json", ".txt", PICTURE) if self.titles else (".txt", PICTURE)

    @property
    def content(self) -> str:
        """In words: "213 rows", "40 lines"."""
        count, noun = (len(self.rows), "row") if self.titles else (len(self.lines), "line")
        return f"{count:,} {noun}{'' if count == 1 else 's'}"

    def as_file(self, form: str) -> str:
        """The content of a file that ends in *form*, one of `forms` except the picture."""
        if form == ".csv":
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerows([self.titles, *self.rows])
            return out.getvalue()
        if form == ".json":
            from lamina.core.cli.output import as_json

            keys = [title.lower() for title in self.titles]
            records = self.records or [dict(zip(keys, row, strict=True)) for row in self.rows]
            return "[\n" + ",\n".join(as_json(record) for record in records) + "\n]\n"
        return "".join(f"{line}\n" for line in self.lines or _aligned(self.titles, self.rows))


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    from lamina.core.cli.output import table

    return table(titles, rows).split("\n")


def why_not(name: str, view: View) -> str:
    """Why *view* cannot be saved as the file *name*, in words; "" if it can."""
    path = typed_path(name)
    if path.suffix not in view.forms:
        return f"the name ends in {', '.join(view.forms[:-1])}, or {PICTURE} for a picture of the whole screen"
    if is_there(path):
        return f"there is {path} already"
    if not is_directory(path.parent):
        return f"there is no directory {path.parent}"
    return ""


def free_name(view: View, where: str) -> str:
    """A file name that is free in the current directory, as in "lamina-jobs-log.txt"."""
    stem = f"lamina-{where}" if view.name in ("", where) else f"lamina-{where}-{view.name}"
    names = (f"{stem}{number}{view.forms[0]}" for number in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(name for name in names if not Path(name).exists())
