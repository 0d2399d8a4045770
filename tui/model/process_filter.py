"""The filter of the processes: text or a regular expression; `!` for all that do not match, `-f` for letters in that order."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")


@dataclass(frozen=True)
class Filter:
    """A filter as it was typed.

    Attributes:
        line: what was typed, without blanks at its ends.
        kind: "text", "regex" or "fuzzy".
        inverse: the hits are those that do not match.
        wanted: the line without `!` and `-f`.
        problem: why it is not a valid regular expression although it looks like one; it is then taken as text.
    """

    line: str
    kind: str
    inverse: bool
    wanted: str
    problem: str = ""

    def hits(self, places: Iterable[tuple[int, str]]) -> set[int]:
        """The pids of those that match, out of (pid, `searchable` text)."""
        fits, odd = _judge(self.kind, self.wanted), self.inverse
        return {pid for pid, text in places if fits(text) is not odd}


def searchable(pid: int, name: str, cmdline: Iterable[str]) -> str:
    """Everything that a filter searches, one line each, so that "^" and "$" mean the ends of the name, the command line or the pid."""
    return "\n".join([" ".join(part.split()) for part in (name, " ".join(cmdline))] + [str(pid)]).casefold()


@lru_cache(maxsize=64)
def parse_filter(line: str) -> Filter | None:
    """The filter that *line* means; None if it has nothing but `!` and `-f`. Case never matters.

    A line with characters of regular expressions matches both as one and literally: people type "*:6379" and "^redis".
    """
    line = line.strip()
    inverse = line.startswith("!")
    rest = line[1:].lstrip() if inverse else line
    if rest == "-f" or rest.startswith("-f "):
        wanted = "".join(rest[2:].split())
        return Filter(line, "fuzzy", inverse, wanted.casefold()) if wanted else None
    if not rest:
        return None
    if not _SPECIAL.search(rest):
        return Filter(line, "text", inverse, rest.casefold())
    try:
        re.compile(rest)
    except (re.error, OverflowError, RecursionError) as error:
        return Filter(line, "text", inverse, rest.casefold(), f"no regex: {str(error).partition(' at position')[0]}")
    return Filter(line, "regex", inverse, rest)


@lru_cache(maxsize=4)
def _judge(kind: str, wanted: str) -> Callable[[str], bool]:
    if kind == "text":
        return lambda text: wanted in text
    if kind == "regex":
        search, literal = re.compile(wanted, re.IGNORECASE | re.MULTILINE).search, wanted.casefold()
        return lambda text: literal in text or search(text) is not None
    # It takes the next occurrence of each letter and never goes back, so that a long line costs no more than its length.
    letters = "".join(f"[^{re.escape(letter)}\n]*{re.escape(letter)}" for letter in wanted)
    find = re.compile("^" + letters, re.MULTILINE).search
    return lambda text: find(text) is not None
