"""owners, diff: which layer has a page, and what differs between two layers, or a layer and what runs."""

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lamina.core.cli.naming import find_layer
from lamina.core.cli.output import PAGE, Output, pages, size, table
from lamina.core.errors import ImageError, UsageError, printable
from lamina.core.events import CancelToken, Progress

if TYPE_CHECKING:
    from lamina.core.dirty.runs import PageRuns
    from lamina.core.image.layer import Layer
    from lamina.core.inspect.diff import Difference
    from lamina.core.inspect.diff.pages import PageDiff
    from lamina.core.inspect.diff.sides import Side
    from lamina.core.inspect.ownership import AreaStrip, Ownership

# -- owners --------------------------------------------------------------------------------------------------------------------------


def owners(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina owners LAYER [PID] [--runs]`."""
    from lamina.core.inspect.ownership import ownership

    layer = find_layer(args)
    chain = layer.chain()
    found = [ownership(layer, which, chain) for which in _chosen(layer, args.which)]
    if output.json:
        output.result({"layer": layer.path, "objects": [_owners_value(layer, it) for it in found]}, "")
    elif args.runs:
        output.write(f"{line}\n".encode(errors="surrogateescape") for it in found for line in _run_lines(layer, it))
    else:
        output.result(None, "\n\n".join(_owners_text(layer, it, output.columns()) for it in found) or f"{layer.path} has no memory")
    return 0


def _chosen(layer: "Layer", word: str | None) -> "list[int | str]":
    if word is None:
        return sorted(layer.objects, key=lambda it: (isinstance(it, str), it))
    which: int | str = int(word) if word.isascii() and word.isdigit() else word
    if which not in layer.objects:
        held = ", ".join(str(it) for it in layer.objects)
        raise ImageError("no such process in layer", f"{layer.path}: {word}", f"it has memory of {held or 'none'}")
    return [which]


def _owners_value(layer: "Layer", found: "Ownership") -> dict[str, Any]:
    from lamina.core.inspect.ownership import strips

    chain = found.map.chain
    return {
        "which": found.which,
        "name": found.name,
        "pages": sum(it.pages for it in found.owners),
        "missing_pages": found.missing,
        "pages_without_data": found.nowhere,
        "chain": [{"letter": _letter(at), "layer": it.name, "path": it.path} for at, it in enumerate(chain)],
        "owners": [
            {"letter": it.letter, "index": it.index, "layer": it.layer.name, "pages": it.pages, "punched_pages": it.punched}
            for it in found.owners
        ],
        "areas": [{"area": it.area, "pages": it.pages, "strip": it.strip} for it in strips(layer, found)],
        "runs": [run._asdict() for run in found.runs()],
    }


def _letter(index: int) -> str:
    from lamina.core.inspect.ownership import letter_of

    return letter_of(index)


def _title(layer: "Layer", found: "Ownership") -> str:
    if isinstance(found.which, str):
        return f"shared object {found.which} of {layer.path}"
    return f"process {found.which}{f' ({found.name})' if found.name else ''} of {layer.path}"


def _owners_text(layer: "Layer", found: "Ownership", columns: int) -> str:
    from lamina.core.inspect.ownership import FARTHER, LACKING, NOBODY, PUNCHED, strips

    total = sum(it.pages for it in found.owners)
    count = len(found.owners)
    lines = [f"{_title(layer, found)}: {pages(total)} from {count} layer{'' if count == 1 else 's'}"]
    rows = [
        (it.letter, it.layer.name, f"{it.pages:,}", size(it.pages * PAGE), f"{it.punched:,} punched" if it.punched else "")
        for it in found.owners
    ]
    lines.append(table(("", "LAYER", "PAGES", "SIZE", ""), rows, right=frozenset({2, 3})))
    if found.missing:
        lines.append(f"{pages(found.missing)} missing: inherited, and not in the parent's map")
    if found.nowhere:
        lines.append(f"{pages(found.nowhere)} without data: a lazy dump that was never completed")
    # Nothing but the strip can be made narrower.
    shown = strips(layer, found, max(16, min(64, columns - 70)))
    body = [_strip_row(it) for it in shown]
    lines += ["", table(("AREA", "PERMS", "SIZE", "PAGES", "WHO HAS THEM", "NAME"), body, right=frozenset({2, 3}))]
    signs = {NOBODY: "in no image (zero, or the file's own)", PUNCHED: "punched", LACKING: "lost", FARTHER: "a farther layer"}
    used = {sign for it in shown for sign in it.strip}
    legend = "; ".join(f"{sign} {text}" for sign, text in signs.items() if sign in used)
    return "\n".join(lines) + (f"\n{legend}" if legend else "")


def _strip_row(it: "AreaStrip") -> tuple[str, ...]:
    if it.area is None:
        return ("", "", "", f"{it.pages:,}", it.strip, "")
    area = it.area
    name = printable(area.name)
    return (f"{area.start:x}-{area.end:x}", area.perms, size(area.size), f"{it.pages:,}", it.strip, name)


def _run_lines(layer: "Layer", found: "Ownership") -> Iterator[str]:
    yield f"# {_title(layer, found)}"
    yield "# start-end  pages  owner  offset in its pages file"
    names = [it.name for it in found.map.chain]
    for run in found.runs():
        count = (run.end - run.start) // PAGE
        if run.owner is None:
            yield f"{run.start:x}-{run.end:x}  {count}  -  {run.state}"
        else:
            lost = "  punched" if run.state == "punched" else ""
            yield f"{run.start:x}-{run.end:x}  {count}  {names[run.owner]}  {run.offset:#x}{lost}"


# -- diff ----------------------------------------------------------------------------------------------------------------------------


def diff(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina diff LAYER LAYER` and `lamina diff LAYER --live PID`."""
    from lamina.core.inspect.diff import diff_sides, read_pair

    a, b = _sides(args)
    if args.hex:
        from lamina.core.cli.difference_text import page_text

        task, address = args.hex
        pair = read_pair(a, b, address, task)
        value = {"a": a.name, "b": b.name, "pid": pair.which, "address": pair.address, "page_a": pair.a, "page_b": pair.b}
        output.result(value, "" if output.json else page_text(pair, a.name, b.name, output.columns()))
        return 0
    begin, total = time.monotonic(), 0

    def step(count: int) -> None:
        nonlocal total
        total += count
        elapsed = int((time.monotonic() - begin) * 1e6)
        output.listen(Progress("comparing", total, done_bytes=total * PAGE, elapsed_us=elapsed))

    found = diff_sides(a, b, not args.by_map, cancel, step)
    if output.json:
        output.result(difference_value(found), "")
    else:
        from lamina.core.cli.difference_text import difference_text

        output.write(f"{line}\n".encode(errors="surrogateescape") for line in difference_text(found, args.pages))
    return 0


def _sides(args: argparse.Namespace) -> "tuple[Side, Side]":
    from lamina.core.inspect.diff.layer_side import LayerSide
    from lamina.core.inspect.diff.live_side import LiveSide

    if (args.b is None) == (args.live is None):
        raise UsageError("compare with what?", why="give a second layer, or --live PID, and not both")
    one = LayerSide(find_layer(args, "a"))
    return one, LayerSide(find_layer(args, "b"), beside=one) if args.live is None else LiveSide(args.live)


def difference_value(found: "Difference") -> dict[str, Any]:
    """The difference as JSON has it: areas and tasks by their fields, sets of pages as [start, end] pairs."""
    return {
        "a": found.a,
        "b": found.b,
        "differs": found.differs,
        "by_map": found.by_map,
        "notes": found.notes,
        "tasks": found.tasks,
        "descriptors": found.descriptors,
        "areas": found.areas,
        "shared_added": found.shared_added,
        "shared_gone": found.shared_gone,
        "memory": [{"which": it.which, "which_a": it.which_a, "pages": _page_value(it.pages), "areas": it.areas} for it in found.memory],
    }


def _page_value(diff: "PageDiff") -> dict[str, Any]:
    sets: dict[str, PageRuns] = vars(diff)
    return {name: {"pages": runs.pages, "runs": list(runs)} for name, runs in sets.items()}
