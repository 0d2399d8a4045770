"""What a layer holds besides pages, as a tree: its tasks with threads, areas and descriptors, then every file field by field.

Called in worker threads. A file is decoded when its branch is opened.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ImageError
from lamina.tui.model import units

if TYPE_CHECKING:
    from lamina.core.image.layer import Layer
    from lamina.core.inspect.diff.layer_side import LayerSide
    from lamina.core.inspect.diff.tasks import Task

_MOST = 2000


@dataclass(frozen=True)
class Branch:
    """One line of the tree.

    Attributes:
        label: what it is; note: details, shown dimmed.
        children: the branches below it.
        file: the image whose fields come below it once it is opened, or "".
        place: the (task, address) in memory that it belongs to, or None.
        wrong: it could not be read.
    """

    label: str
    note: str = ""
    children: tuple["Branch", ...] = field(default=())
    file: str = ""
    place: tuple[int, int] | None = None
    wrong: bool = False


@dataclass(frozen=True)
class Contents:
    """The branches of one layer; pids: its tasks that have memory, the root first."""

    layer: Path
    name: str
    pids: tuple[int, ...]
    branches: tuple[Branch, ...]


def read_contents(path: Path) -> Contents:
    """The tree of the layer at *path*, files not yet opened.

    Raises:
        LaminaError: it is no layer.
    """
    from lamina.core.image.layer import Layer
    from lamina.core.inspect.layer_memory import tasks_with_memory

    layer = Layer(path)
    try:
        tasks, pids = _tasks(layer), tasks_with_memory(layer)
    except ImageError as error:
        tasks, pids = [Branch("tasks", str(error), wrong=True)], ()
    files = tuple(_file(layer, name) for name in layer.names())
    return Contents(path, layer.name, pids, (*tasks, Branch("files", str(len(files)), files)))


def read_file_branches(path: Path, name: str) -> tuple[Branch, ...]:
    """The records of one image of the layer at *path*, field by field; a file that cannot be read says why."""
    from lamina.core.image.layer import Layer
    from lamina.core.image.show.tree import show_file

    try:
        shown = show_file(Layer(path).storage, name, _MOST)
    except ImageError as error:
        return (Branch("cannot be read", str(error), wrong=True),)
    return tuple(_branches(shown))


def _tasks(layer: "Layer") -> list[Branch]:
    from lamina.core.inspect.diff.layer_side import LayerSide

    if layer.is_pre_dump:
        what, _, why = layer.memory_only.partition(": ")
        return [Branch(what, why)]
    side = LayerSide(layer)
    return [_task(side, task) for task in side.tasks]


def _task(side: "LayerSide", task: "Task") -> Branch:
    threads = tuple(Branch(str(thread.tid), thread.comm, file=f"core-{thread.tid}.img") for thread in task.threads)
    below = [Branch("threads", str(len(threads)), threads)]
    areas = side.areas(task.pid)
    if areas is not None:
        lines = tuple(
            Branch(f"{area.start:x}", f"{area.perms} {units.size(area.size)} {area.name or area.kind.value}", place=(task.pid, area.start))
            for area in areas
        )
        below.append(Branch("areas", str(len(lines)), lines))
    descriptors = side.descriptors(task.pid)
    if descriptors is not None:
        rows = tuple(Branch(str(it.fd), " ".join(part for part in (str(it), it.detail) if part)) for it in descriptors)
        below.append(Branch("descriptors", str(len(rows)), rows))
    return Branch(f"task {task.pid}", task.comm, tuple(below))


def _file(layer: "Layer", name: str) -> Branch:
    info = layer.info(name)
    if info is not None and info.is_link:
        return Branch(name, f"→ {layer.storage.link(name)}")
    raw = name.startswith("pages-") or info is None
    return Branch(name, units.size(info.size) if info else "", file="" if raw else name)


def _branches(value: Any) -> Iterable[Branch]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield _branch(str(key), item)
    elif isinstance(value, list):
        for at, item in enumerate(value[:_MOST]):
            yield _branch(str(at), item)
        if len(value) > _MOST:
            yield Branch(f"… {len(value) - _MOST:,} more", "lamina show prints them all")


def _branch(name: str, value: Any) -> Branch:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict | list) for item in value)):
        note = f"{len(value):,}" if isinstance(value, list) else ""
        return Branch(name, note, tuple(_branches(value)))
    if isinstance(value, list):
        return Branch(name, " ".join(str(item) for item in value))
    return Branch(name, str(value), wrong=name == "error")
