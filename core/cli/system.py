"""check, ps: what the machine and its programs are like; touches nothing."""

import argparse
import shlex
from collections import defaultdict
from typing import Any

from lamina.core.attach.processes import ProcessInfo, ProcessTable
from lamina.core.cli.output import Output, size, table
from lamina.core.errors import EXIT_FAILED, UsageError
from lamina.core.events import CancelToken


def check(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina check [-t PID [--stop]]`. Exit status 1 if a dump would be refused."""
    from lamina.core.dump import preflight
    from lamina.core.dump.stopped import ONLY_A_STOP, examine_stopped

    if args.tree is None:
        if args.stop:
            raise UsageError("cannot stop", why="no process is named", fix="lamina check --stop -t PID")
        needs = preflight.capabilities()
        rows = [(n.name, "yes" if n.available else "no", "" if n.available else n.reason) for n in needs]
        output.result({"capabilities": needs}, table(("NEED", "HERE", "WITHOUT IT"), rows))
        return 0
    found = (examine_stopped if args.stop else preflight.examine)(args.tree, shell_job=args.shell_job)
    lines = [f"no: {blocker}" for blocker in found.blockers]
    lines += [f"note: {note}" for note in found.notes]
    if not found.tracker.available:
        lines.append(f"note: every dump will be a full one: {found.tracker.reason}")
    if not found.blockers:
        count = len(found.pids)
        lines.insert(0, f"process {args.tree} can be dumped ({count} process{'es' if count > 1 else ''})")
    if not args.stop and not found.blockers:
        lines.append(f"only a stop can tell: {ONLY_A_STOP} (lamina check --stop -t {args.tree})")
    output.result({"dumpable": not found.blockers, "examination": found}, "\n".join(lines))
    return EXIT_FAILED if found.blockers else 0


def run(_args: argparse.Namespace, _output: Output, _cancel: CancelToken) -> int:
    """`lamina run -- COMMAND …` and `lamina attach` are the screen's: without one they are a mistake."""
    raise UsageError("cannot show a program", why="only the screen has terminals for programs", fix="install lamina with its TUI")


def ps(_args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina ps`."""
    from lamina.core.dirty.lost import seen_states

    rows = ProcessTable(seen_states).refresh()
    text = "" if output.json else _tree_text(rows)
    output.result({"processes": rows}, "\n".join(line[: output.columns()] for line in text.splitlines()))
    return 0


def _tree_text(rows: tuple[ProcessInfo, ...]) -> str:
    below: dict[int, list[ProcessInfo]] = defaultdict(list)
    known = {row.pid for row in rows}
    for row in rows:
        below[row.ppid if row.ppid in known else 0].append(row)
    cells: list[tuple[Any, ...]] = []
    pending = [(row, 0) for row in reversed(below[0])]
    while pending:
        row, depth = pending.pop()
        what = shlex.join(row.cmdline) if row.cmdline else f"[{row.name}]"
        standing = row.layer_dir if row.settled else f"{row.layer_dir} (cut short)"
        cells.append(
            (str(row.pid), row.user, size(row.rss), str(row.threads), row.tracker or "-", standing or "-", row.protected or "-",
             "  " * depth + " ".join(what.split()))
        )  # fmt: skip
        pending.extend((child, depth + 1) for child in reversed(below[row.pid]))
    head = ("PID", "USER", "RSS", "THR", "TRACKER", "STANDS ON", "PROTECTED", "COMMAND")
    return table(head, cells, right=frozenset({0, 2, 3}))
