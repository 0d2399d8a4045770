"""What a user feels of the process screen among thousands of real processes. `many_processes` is a part of screen_bench.py."""

import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benches.pty_screen import PtyScreen
from tests.tui.crowd import crowd

if TYPE_CHECKING:
    from benches.screen_bench import Latency, ScreenBench


def _marked(screen: PtyScreen) -> bool:
    """Whether the marks of the rows in view are there, but for those of large trees, which are looked at only if one goes there."""
    marks = re.findall(r"^│ .* (\S) {1,2}│", screen.text, re.MULTILINE)[1:]
    return len(marks) > 5 and marks.count("·") * 5 <= len(marks)


def many_processes(bench: "ScreenBench", many: int = 10_000, times: int = 3, keys: int = 60) -> "list[Latency]":
    """*many* processes below one, in families of 100.

    From the start of the command to the first rows and to their marks, *times* each; then *keys* keys of each kind, with the table being
    read anew all the while: the cursor down, a screenful down, letters of a filter and back, orders.
    """
    from benches.screen_bench import Keys, Latency, finds, has_rows, under_bar

    starts, marks, limits = [], [], []
    with crowd(many):
        for _ in range(times + 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
            limits.append((time.perf_counter() - began) * 1e3)
            with bench.lamina() as screen:
                starts.append((screen.wait_for(has_rows) - screen.began) * 1e3)
                screen.type(b"/member\r")
                marks.append((screen.wait_for(_marked) - screen.began) * 1e3)
        what = f"{many:,} processes"
        rows = [
            Latency(f"{what}: start to first rows", tuple(starts[1:]), tuple(limits[1:])),
            Latency(f"{what}: start to all marks", tuple(marks[1:]), tuple(limits[1:])),
        ]
        down, page = Keys(f"{what}: cursor", under_bar), Keys(f"{what}: page", under_bar)
        letters, orders = (
            Keys(f"{what}: a letter of the filter", finds(r"[\d,]+ hits? for /\S*")),
            Keys(f"{what}: order", finds(r"╭─ [^─]+")),
        )
        with bench.desk() as desk:
            desk.screen.rest(3)
            down.press(desk, *[b"j"] * keys)
            page.press(desk, *[b"\x06"] * keys)
            orders.press(desk, *[b">"] * (keys // 2))
            desk.screen.type(b"/")
            letters.press(desk, *([b"m", b"e", b"m", b"-", b"7", *[b"\x7f"] * 4] * (keys // 9)))
        return [*rows, down.row(), page.row(), orders.row(), letters.row()]
