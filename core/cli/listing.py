"""stack, show: the layers under a directory as a tree, and the fields of image files; without a target and without rights."""

import argparse
import dataclasses
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lamina.core.cli.output import Output, duration, size, table
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack, Unreadable
from lamina.core.image.summary import Summary, summary_of
from lamina.core.verify import Report, State, verify_stack

_HEAD = ("LAYER", "PARENT", "OWN", "INHERITED", "ON DISK", "FROZEN", "TIME", "LABEL", "RESTORABLE")
_RIGHT = frozenset({2, 3, 4, 5})

_SHOWN = 100  # records, runs and rows of a file, if nothing else is asked for


def stack(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina stack DIR`."""
    found = Stack.open(args.dir)
    reports = {report.layer: report for report in verify_stack(found, contents=False, cancel=cancel).reports}
    rows = [(drawn, layer, summary_of(layer), found.parent_of(layer), reports[layer.directory]) for drawn, layer in _tree(found)]
    trash = [summary_of(layer) for layer in found.trashed]
    in_trash = sum(it.disk_bytes for it in trash)
    value = {
        "dir": args.dir,
        "layers": [
            dataclasses.asdict(summary)
            | {"parent_dir": above.path if above else None}
            | {"restorable": report.state is State.RESTORABLE, "state": report.state.value, "why_not": report.why}
            | _marks(layer)
            for _, layer, summary, above, report in rows
        ],
        "unreadable": [{"path": it.path, "why": _why(it, reports)} for it in found.unreadable],
        "trash": {"layers": [it.path for it in trash], "disk_bytes": in_trash},
    }
    body = [_row(drawn, summary, above, _marks(layer), report) for drawn, layer, summary, above, report in rows]
    body += [(it.path.name, *["-"] * 6, "", f"no: {_why(it, reports)}") for it in found.unreadable]
    lines = [table(_HEAD, body, right=_RIGHT) if body else _nothing(args.dir)]
    if trash:
        lines.append(f"in the trash: {len(trash)} layer{'s' if len(trash) > 1 else ''}, {size(in_trash)}")
    output.result(value, "\n".join(lines))
    return 0


def _tree(stack: Stack) -> Iterator[tuple[str, Layer]]:
    """(what to draw before its name, layer), parents before children. An only child stands under its parent, without an indent: most
    stacks are one line of layers.
    """
    known = {layer.key for layer in stack.layers}
    roots = [layer for layer in stack.layers if (above := stack.parent_of(layer)) is None or above.key not in known]
    pending = [("", "", layer) for layer in reversed(roots)]
    while pending:
        drawn, below, layer = pending.pop()
        yield drawn, layer
        children = stack.children(layer)
        if len(children) == 1:
            pending.append((below, below, children[0]))
            continue
        for child in reversed(children):
            last = child is children[-1]
            pending.append((below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), child))


def _row(drawn: str, summary: Summary, above: Layer | None, marks: dict[str, Any], report: Report) -> tuple[str, ...]:
    pinned = f"[pinned{': ' if marks['pin_reason'] else ''}{marks['pin_reason']}]" if marks["pinned"] else ""
    return (
        drawn + summary.name,
        above.name if above else "-",
        f"{summary.own_pages:,}",
        f"{summary.inherited_pages:,}",
        size(summary.disk_bytes),
        duration(summary.freeze_us) if summary.freeze_us else "?",
        datetime.fromtimestamp(summary.time).strftime("%Y-%m-%d %H:%M:%S"),
        " ".join(part for part in (summary.label, pinned) if part),
        _verdict(report),
    )


def _verdict(report: Report) -> str:
    if report.state is State.RESTORABLE:
        return "yes"
    return f"no: {report.why}" if report.state is State.BROKEN else f"{report.state.value}: {report.why}"


def _marks(layer: Layer) -> dict[str, Any]:
    try:
        sidecar = layer.sidecar
    except ImageError:
        sidecar = None
    return {"pinned": bool(sidecar and sidecar.pinned), "pin_reason": sidecar.pin_reason if sidecar else ""}


def _why(bad: Unreadable, reports: dict[Path, Report]) -> str:
    report = reports.get(bad.path.resolve()) or reports.get(bad.path)
    return report.why if report and report.why else bad.why


def _nothing(directory: Path) -> str:
    if (directory / "inventory.img").exists():
        return f"{directory} is a layer; its stack is {directory.resolve().parent}"
    return f"no layers under {directory}"


def show(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina show FILE|DIR|ARCHIVE [--all | --limit N]`. Text of a whole layer is one line a file, unless more is asked for."""
    from lamina.core.image.show import as_overview, as_text, as_tree

    whole = args.all or (output.json and args.limit is None)
    limit = None if whole else args.limit
    if output.json or whole or limit is not None:
        tree = as_tree(args.path, limit)
        output.result(tree, "" if output.json else as_text(tree))
        return 0
    tree = as_tree(args.path, _SHOWN)
    output.result(tree, as_text(tree) if isinstance(tree.get("kind"), str) else as_overview(tree))
    return 0
