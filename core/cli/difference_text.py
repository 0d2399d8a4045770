"""A difference as lines for people: "+" is new on side b, "-" gone from side a, "~" another."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lamina.core.cli.output import PAGE, pages, size, table
from lamina.core.errors import printable

if TYPE_CHECKING:
    from lamina.core.inspect.diff import Difference, PagePair
    from lamina.core.inspect.diff.areas import AreaChange
    from lamina.core.inspect.diff.descriptors import Descriptor, DescriptorChange
    from lamina.core.inspect.diff.difference import MemoryDiff
    from lamina.core.inspect.diff.tasks import FieldChange, Task, TaskChange, ThreadChange

_SHOWN_REGISTERS = 4
_SETS = ("same", "changed", "maybe", "added", "gone", "unreadable")


def difference_text(found: "Difference", with_runs: bool = False) -> Iterator[str]:
    """All of it; with *with_runs* also each run of pages that differs."""
    yield f"a: {found.a}"
    yield f"b: {found.b}"
    yield from (f"note: {note}" for note in found.notes)
    yield ""
    yield from _tasks(found)
    yield ""
    yield from _section("descriptors", descriptor_lines(found))
    yield ""
    yield from _section("areas", area_lines(found))
    for it in found.memory:
        yield ""
        yield from _memory(it, found.by_map)
        if with_runs:
            yield from _runs(it)
    if found.shared_added or found.shared_gone:
        yield ""
        yield from (f"+ shared object {which}" for which in found.shared_added)
        yield from (f"- shared object {which}" for which in found.shared_gone)


def _section(what: str, lines: list[str]) -> Iterator[str]:
    yield f"{what}: {len(lines) or 'no'} difference{'' if len(lines) < 2 else 's'}"
    yield from (f"  {printable(line)}" for line in lines)


# -- tasks ---------------------------------------------------------------------------------------------------------------------------


def task_lines(found: "Difference") -> list[str]:
    """Tasks that came, went and changed; what belongs to one task comes behind it, indented."""
    tasks = found.tasks
    lines = [f"+ {_task(task)}" for task in tasks.added] + [f"- {_task(task)}" for task in tasks.gone]
    for change in tasks.changed:
        lines += _changed_task(change)
    return lines


def _tasks(found: "Difference") -> Iterator[str]:
    tasks = found.tasks
    counts = (f"{tasks.same} the same", f"{len(tasks.changed)} changed", f"{len(tasks.added)} added", f"{len(tasks.gone)} gone")
    yield f"tasks: {', '.join(counts)}"
    yield from (f"  {printable(line)}" for line in task_lines(found))


def _task(task: "Task") -> str:
    threads = len(task.threads)
    return f"{task.pid} {task.comm} ({task.state or 'only its memory is known'}{f', {threads} threads' if threads > 1 else ''})"


def _changed_task(change: "TaskChange") -> Iterator[str]:
    fields = "; ".join(_field(it) for it in change.fields)
    was = f" (on a: {change.pid_a})" if change.pid_a != change.pid else ""
    yield f"~ {change.pid}{was}{f': {fields}' if fields else ''}"
    yield from (f"    + thread {thread.tid} {thread.comm}" for thread in change.threads_added)
    yield from (f"    - thread {thread.tid} {thread.comm}" for thread in change.threads_gone)
    yield from (f"    ~ thread {thread.tid}: {_thread(thread)}" for thread in change.threads)


def _field(it: "FieldChange") -> str:
    return f"{it.name} {it.a or '-'} → {it.b or '-'}"


def _thread(change: "ThreadChange") -> str:
    parts = [_field(change.comm)] if change.comm else []
    # Where it is comes first; of the others some are enough to see that it moved.
    names = sorted(change.registers, key=lambda name: (name not in ("ip", "pc", "psw_addr", "sp"), name))
    parts += [f"{name} {change.registers[name][0]:#x} → {change.registers[name][1]:#x}" for name in names[:_SHOWN_REGISTERS]]
    if len(names) > _SHOWN_REGISTERS:
        parts.append(f"{len(names) - _SHOWN_REGISTERS} more registers")
    if change.vectors:
        parts.append("floating point or vector registers")
    return ", ".join(parts)


# -- descriptors and areas -----------------------------------------------------------------------------------------------------------


def descriptor_lines(found: "Difference") -> list[str]:
    """Descriptors opened, closed, and changed."""
    return [_descriptor(it) for it in found.descriptors]


def area_lines(found: "Difference") -> list[str]:
    """Areas mapped, unmapped, and changed."""
    return [_area(it) for it in found.areas]


def _descriptor(change: "DescriptorChange") -> str:
    head = f"process {change.pid} fd {change.fd}"
    if change.a is None and change.b is not None:
        return f"+ {head}  {change.b}{_state(change.b)}"
    if change.b is None and change.a is not None:
        return f"- {head}  {change.a}{_state(change.a)}"
    return f"~ {head}  {change.b}: " + ", ".join(_field(it) for it in change.fields)


def _state(it: "Descriptor") -> str:
    at = f", at {it.offset}" if it.offset else ""
    return f" (flags {it.flags:#o}{at}{f', {it.detail}' if it.detail else ''})"


_SIGNS = {"added": "+", "grew": "+", "gone": "-", "shrank": "-"}


def _area(change: "AreaChange") -> str:
    area = change.b or change.a
    assert area is not None
    where = f"process {change.pid} {change.start:x}-{change.end:x}"
    text = f"{_SIGNS.get(change.how, '~')} {where} {area.perms} {area.name or area.kind} ({size(change.end - change.start)})"
    if change.how == "grew":
        text += f": part of {area.start:x}-{area.end:x}"
    elif change.how == "shrank":
        text += ": part of an area that is still there"
    elif change.how == "protection" and change.a:
        text += f": was {change.a.perms}"
    elif change.how == "replaced" and change.a:
        text += f": was {change.a.perms} {change.a.name or change.a.kind}"
    return text


# -- pages ---------------------------------------------------------------------------------------------------------------------------


def _memory(it: "MemoryDiff", by_map: bool) -> Iterator[str]:
    sets = {name: getattr(it.pages, name) for name in _SETS}
    shown = [name for name in _SETS if sets[name] and name != "same"]
    what = f"shared object {it.which}" if isinstance(it.which, str) else f"process {it.which}"
    parts = [f"{sets[name].pages:,} {_word(name)}" for name in shown]
    same = f"{it.pages.same.pages:,} the same"
    how = " (by map)" if by_map else ""
    yield f"pages of {what}{how}: {', '.join([same, *parts])}"
    rows = [
        (
            f"{row.area.start:x}-{row.area.end:x}" if row.area else "in no known area",
            row.area.perms if row.area else "",
            *(f"{getattr(row.counts, name):,}" for name in ("same", *shown)),
            printable(str(row.area.name or row.area.kind)) if row.area else "",
        )
        for row in it.areas
        if row.counts.differs
    ]
    if rows:
        head = ("AREA", "PERMS", "SAME", *(_word(name).upper() for name in shown), "NAME")
        yield from (f"  {line}" for line in table(head, rows, right=frozenset(range(2, 3 + len(shown)))).splitlines())


def _word(name: str) -> str:
    return "maybe changed" if name == "maybe" else name


def _runs(it: "MemoryDiff") -> Iterator[str]:
    for name in _SETS[1:]:
        for start, end in getattr(it.pages, name):
            yield f"  {_word(name)}  {start:x}-{end:x}  {pages((end - start) // PAGE)}"


# -- one page ------------------------------------------------------------------------------------------------------------------------


def page_text(pair: "PagePair", a: str, b: str, columns: int) -> str:
    """A page side by side: only lines in which bytes differ, these marked by a star. A side that does not hold it is shown as zeros."""
    head = [f"page {pair.address:x} of process {pair.which}", f"a: {a}{_absent(pair.a)}", f"b: {b}{_absent(pair.b)}"]
    one, other = pair.a or bytes(PAGE), pair.b or bytes(PAGE)
    if one == other:
        return "\n".join([*head, "the same content"])
    width = 16 if columns >= 152 else 8
    count = sum(x != y for x, y in zip(one, other, strict=True))
    return "\n".join([*head, f"{count:,} bytes differ, marked by *", *_rows(one, other, pair.address, width)])


def _absent(page: bytes | None) -> str:
    return "" if page is not None else " (does not hold it: shown as zeros)"


def _rows(a: bytes, b: bytes, address: int, width: int) -> Iterator[str]:
    skipped = False
    for at in range(0, len(a), width):
        one, other = a[at : at + width], b[at : at + width]
        if one == other:
            skipped = True
            continue
        if skipped:
            yield "…"
        skipped = False
        marks = ["*" if x != y else " " for x, y in zip(one, other, strict=True)]
        yield f"{address + at:012x} {_side(one, marks)}  |{_side(other, marks)}"
    if skipped:
        yield "…"


def _side(row: Iterable[int], marks: list[str]) -> str:
    values = list(row)
    text = "".join(chr(value) if 32 <= value < 127 else "." for value in values)
    return "".join(f"{mark}{value:02x}" for mark, value in zip(marks, values, strict=True)) + "  " + text
