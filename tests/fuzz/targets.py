"""What is fuzzed: functions of bytes or of a directory that read all that can be read of it, and raise nothing but `LaminaError`.

Each returns the lines it was told, so that a caller can see that there is an answer at all.
"""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lamina.core.errors import ImageError, LaminaError
from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.pagemap import PageMap
from lamina.core.image.show import as_overview, as_text, as_tree
from lamina.core.image.show.tree import show_file
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.stack import Stack
from lamina.core.image.storage.base import FileInfo, Storage
from lamina.core.image.storage.content import Content
from lamina.core.image.storage.directory import DirectoryStorage
from lamina.core.image.summary import summary_of
from lamina.core.inspect.corefile import write_core
from lamina.core.inspect.diff import diff
from lamina.core.inspect.layer_memory import open_layer_memory, tasks_with_memory
from lamina.core.inspect.ownership import ownership
from lamina.core.inspect.patterns import text_pattern
from lamina.core.inspect.search import search
from lamina.core.verify import State, verify_layer, verify_stack

T = TypeVar("T")
READ_LIMIT = 64 << 20


class BytesContent(Content):
    """A file that is only bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def pread(self, size: int, offset: int) -> bytes:
        return self._data[offset : offset + size]

    def close(self) -> None:
        pass


class BytesStorage(Storage):
    """A layer that lies nowhere."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.path = Path("nowhere")
        self.key = (id(self),)
        self._files = dict(files)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._files))

    def info(self, name: str) -> FileInfo | None:
        data = self._files.get(name)
        return None if data is None else FileInfo(len(data), len(data), 0.0, 0, 0o100600)

    def open(self, name: str) -> Content:
        if name not in self._files:
            raise ImageError("cannot read image", name, "missing")
        return BytesContent(self._files[name])

    def link(self, name: str) -> str:
        raise ImageError("cannot use layer", name, "is not a symbolic link")

    def follow(self, link: str) -> Storage:
        raise ImageError("cannot use layer", link, "is not there")


def one_line(error: LaminaError) -> str:
    """The line that a user sees; it must be one, and say something."""
    line = str(error)
    assert line.isprintable() and line and len(line) < 8192, f"not one line: {line!r}"
    return line


def read_image(name: str, data: bytes) -> list[str]:
    """A file of that name with that content: its records, its tree, its text."""
    said = []
    kind = fmt.kind_of_file(name)
    if kind is not None:
        try:
            records = [(message, blob) for message, blob, _ in fmt.records_of(data, kind, name)]
            assert fmt.decode_image(fmt.encode_image(kind, records), kind.name) == [message for message, _ in records]
        except LaminaError as error:
            said.append(one_line(error))
    with_limit = show_file(BytesStorage({name: data}), name, 4)
    whole = show_file(BytesStorage({name: data}), name)
    json.dumps(whole)
    for shown in (with_limit, whole):
        text = as_text(shown)
        assert all(line.isprintable() for line in text.split("\n")), "a name could drive the terminal"
        as_overview({name: shown})
    if "error" in whole:
        said.append(whole["error"])
        assert whole["error"].isprintable()
    return said


def read_map(data: bytes) -> list[str]:
    """A map of pages: what is decoded is ascending and adds up."""
    try:
        pages = PageMap.decode(data, "pagemap-1.img")
    except LaminaError as error:
        return [one_line(error)]
    assert pages.all.pages == int(pages.pages.sum())
    assert pages.present.bytes == pages.data_bytes
    with suppress(LaminaError):  # runs of 2^32 pages and more cannot be written for old readers
        back = PageMap.decode(pages.encode())
        assert (back.vaddr.tolist(), back.pages.tolist()) == (pages.vaddr.tolist(), pages.pages.tolist())
    return []


def read_sidecar(data: bytes) -> list[str]:
    """A lamina.json."""
    try:
        Sidecar.from_json(data)
    except LaminaError as error:
        return [one_line(error)]
    return []


def read_any(data: bytes) -> list[str]:
    """One of the above, by the first byte: the form that a fuzzer of bytes needs."""
    names = sorted(fmt.IMAGES)
    if not data:
        return []
    which = data[0] % (len(names) + 2)
    if which == len(names):
        return read_map(fmt.PAGEMAP.head_bytes + data[1:])
    if which == len(names) + 1:
        return read_sidecar(data[1:])
    kind = fmt.IMAGES[names[which]]
    name = kind.name if kind.head is fmt.Head.SERVICE else f"{kind.name}.img"
    return read_image(name, kind.head_bytes + data[1:])


@dataclass
class Answer:
    """What was found out about a stack.

    Attributes:
        said: the lines of all errors.
        whole: the layers that `verify` with contents calls restorable, at rest, or memory only.
        memory: digest of the memory of each task whose memory could be read to its end, by (layer, pid).
    """

    said: list[str] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)
    memory: dict[tuple[str, int], str] = field(default_factory=dict)

    def attempt(self, act: Callable[[], T]) -> T | None:
        """Do it; an error is one line."""
        try:
            return act()
        except LaminaError as error:
            self.said.append(one_line(error))
            return None


def read_stack(path: Path, scratch: Path, shown: frozenset[str] | None = None) -> Answer:
    """All that can be read of the layers in the directory *path*.

    *scratch* is where core files may be written; *shown* are the files (LAYER/FILE) to be shown, None for all.
    """
    answer = Answer()
    for name in sorted(str(it.relative_to(path)) for it in path.glob("*/*")) if shown is None else sorted(shown):
        _show(path / name, answer)
    stack = answer.attempt(lambda: Stack.open(path))
    if stack is not None:
        for verified in (answer.attempt(lambda: verify_stack(stack, contents=False)), answer.attempt(lambda: verify_stack(stack))):
            for report in verified.reports if verified else ():
                for finding in report.findings:
                    assert str(finding).isprintable()
                assert report.why.isprintable()
                assert report.why or report.state is State.RESTORABLE
        answer.whole = {report.name for report in verified.reports if report.state is not State.BROKEN} if verified else set()
    for name in sorted(os.listdir(path)):
        _read_layer(path / name, scratch, answer)
    return answer


def _show(path: Path, answer: Answer) -> None:
    """One file, as it is shown with the whole layer."""
    tree = show_file(DirectoryStorage(path.parent), path.name)
    json.dumps(tree)
    if "error" in tree:
        answer.said.append(tree["error"])
    for text in (as_text(tree), as_overview({path.name: tree})):
        assert all(line.isprintable() for line in text.split("\n")), "a name could drive the terminal"


def _read_layer(path: Path, scratch: Path, answer: Answer) -> None:
    layer = answer.attempt(lambda: Layer(path))
    if layer is None:
        return
    answer.attempt(lambda: summary_of(layer))
    parent = answer.attempt(layer.parent)
    for which in answer.attempt(lambda: layer.objects) or ():
        found = answer.attempt(lambda which=which: ownership(layer, which))  # type: ignore[misc]  # bound now
        if found is not None:
            for _ in zip(range(1000), found.runs(), strict=False):
                pass
    for pid in answer.attempt(lambda: tasks_with_memory(layer)) or ():
        digest = answer.attempt(lambda pid=pid: _digest_of(layer, pid))  # type: ignore[misc]  # bound now
        if digest:
            answer.memory[layer.name, pid] = digest
        core = scratch / f"core.{pid}"
        answer.attempt(lambda pid=pid, core=core: write_core(layer, pid, core))  # type: ignore[misc]  # bound now
        core.unlink(missing_ok=True)
    if parent is not None:
        answer.attempt(lambda: diff(parent, layer))


def _digest_of(layer: Layer, pid: int) -> str:
    """Of the areas of a task, of every page and of who has it. Empty if there is more than a mutation can honestly make."""
    digest = hashlib.blake2b(digest_size=16)
    with open_layer_memory(layer, pid) as memory:
        for area in memory.areas:
            digest.update(struct.pack("<QQ", area.start, area.end))
        if memory.known.bytes > READ_LIMIT:
            return ""
        for address, data, kept, _ in memory.windows(memory.known):
            digest.update(struct.pack("<Q", address + kept))
            digest.update(data[kept:])
        for span in zip(range(1000), memory.spans(0, 1 << 47), strict=False):
            digest.update(str(span[1].owner).encode("utf-8", "surrogateescape"))
        search([memory], text_pattern("a needle"), limit=4)
    return digest.hexdigest()


def read_archive(path: Path) -> list[str]:
    """One layer of an archive: what it shows, whether it is whole, and the memory of its tasks."""
    answer = Answer()
    tree = answer.attempt(lambda: as_tree(path, 4))
    if tree is not None:
        assert all(line.isprintable() for line in as_text(tree).split("\n")), "a name could drive the terminal"
    layer = answer.attempt(lambda: Layer(path))
    if layer is not None:
        answer.attempt(lambda: verify_layer(layer))
        for pid in answer.attempt(lambda: tasks_with_memory(layer)) or ():
            answer.attempt(lambda pid=pid: _digest_of(layer, pid))  # type: ignore[misc]  # bound now
    return answer.said
