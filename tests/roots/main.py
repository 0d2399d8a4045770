"""`make roots`: a stock Debian 12 and 13 with only what README names: built, opened, the demo, the wheel, and all tests.

python -m tests.roots.main [--root bookworm] [--step "make run"] [--keep]
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tests.roots.root import HERE, ROOTS, Debian, Root
from tests.roots.steps import NEEDED, STEPS, Failed, script

RELEASES = (
    Debian("bookworm", "Debian 12"),
    Debian("trixie", "Debian 13"),
    # For its Pythons and its C library: newer than what anybody here runs.
    Debian("forky", "Debian testing", ("python3.13", "python3.15"), ("packages", "make build", "make run", "make demo", "wheel")),
)
# program → its Debian package
PROGRAMS = {
    "debootstrap": "debootstrap", "apt-get": "apt", "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux",
    "pivot_root": "util-linux", "mount": "mount", "tmux": "tmux", "git": "git",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A step that was done: where, what, how it went, seconds."""

    where: str
    what: str
    well: bool
    said: str
    seconds: float


def why_not() -> str:
    """Why no root can be made here; "" if one can."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None})
    if missing:
        return f"apt-get install --no-install-recommends {' '.join(missing)}"
    return "" if os.geteuid() == 0 else "it needs root: debootstrap and namespaces"


def timed(rows: list[Row], where: str, name: str, act: Callable[[], str]) -> bool:
    """Do it, tell it, keep it for the table; False if it failed."""
    print(f"{where}: {name} …", flush=True)
    began = time.monotonic()
    try:
        said, well = act(), True
    except (Failed, OSError, LookupError, subprocess.CalledProcessError) as error:
        said, well = str(error), False
    rows.append(Row(where, name, well, said, time.monotonic() - began))
    print(f"{where}: {name}: {'' if well else 'FAILED: '}{said} ({rows[-1].seconds:.0f} s)", flush=True)
    return well


def try_root(root: Root, steps: Sequence[str], keep: bool, again: bool, rows: list[Row]) -> None:
    """Make *root* (or, *again*, copy the tree into the one that was kept) and take *steps* in it."""
    log_path = ROOTS / f"{root.debian.suite}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w") as log:
        print(f"{root.debian.name}: all that is said goes to {log_path.relative_to(HERE)}", flush=True)
        if not timed(rows, root.debian.name, *(("copy", root.copy_tree) if again else ("debootstrap", partial(root.make, log)))):
            return
        with root:
            for name in steps:
                if not timed(rows, root.debian.name, name, partial(STEPS.get(name, partial(script, name)), root, log)) and name in NEEDED:
                    break
    if not keep:
        root.remove()


def table(rows: Sequence[Row]) -> str:
    """The rows in columns."""
    cells = [(row.where, row.what, f"{row.seconds:.0f} s", "ok" if row.well else "FAILED") for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True)) for cell in cells]
    return "\n".join(f"{line}  {row.said}" for line, row in zip(lines, rows, strict=True))


def main() -> int:
    """All roots, one after another; exit status 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="make roots", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", action="append", choices=[debian.suite for debian in RELEASES], help="which (default: all)")
    parser.add_argument("--step", action="append", choices=[name for name in STEPS if name not in NEEDED], help="which (default: all)")
    parser.add_argument("--keep", action="store_true", help="leave the roots in build/roots")
    parser.add_argument("--run", metavar="SCRIPT", help="after `make build` only this, by sh in the tree there")
    parser.add_argument("--again", action="store_true", help="use the roots that --keep left")
    options = parser.parse_args()
    if reason := why_not():
        print(f"roots: {reason}", file=sys.stderr)
        return 1
    steps = [name for name in STEPS if name in NEEDED or not options.step or name in options.step]
    rows: list[Row] = []
    for debian in RELEASES:
        if not options.root or debian.suite in options.root:
            wanted = [*NEEDED, options.run] if options.run else [name for name in steps if name in (debian.steps or STEPS)]
            try_root(Root(debian), wanted, options.keep, options.again, rows)
    print(f"\n{table(rows)}")
    return int(not rows or not all(row.well for row in rows))


if __name__ == "__main__":
    sys.exit(main())
