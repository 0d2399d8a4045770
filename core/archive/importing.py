"""`lamina import`: makes the layers of an archive layers of a stack, complete and verified or not at all. Nothing is overwritten."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lamina.core.archive.entries import NAME
from lamina.core.archive.manifest import default_name, names_in
from lamina.core.archive.progress import Work
from lamina.core.archive.unpack import publish, staging, unpack
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken, Listener, Meter, ignore
from lamina.core.image import lock
from lamina.core.image.layer import MAX_DEPTH, Layer
from lamina.core.image.leftovers import cannot_write, sweep_stack
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.stack import Stack
from lamina.core.image.storage.archive import ArchiveStorage
from lamina.core.image.storage.locate import storage_of
from lamina.core.image.trust import untrusted_archive
from lamina.core.verify import Checker
from lamina.core.verify.page_files import is_memory


@dataclass(frozen=True)
class Imported:
    """One layer of an archive, and where it is now.

    Attributes:
        place: its directory in the archive.
        path: its directory.
        reused: the stack had this layer already (the same id).
    """

    place: str
    path: Path
    reused: bool


@dataclass(frozen=True)
class ImportResult:
    """What was imported.

    Attributes:
        archive: the file.
        layers: the layers, the leaf first.
        bytes_written: bytes of files that were written.
        elapsed_us: how long it took.
    """

    archive: Path
    layers: tuple[Imported, ...]
    bytes_written: int
    elapsed_us: int


def import_archive(
    archive: Path, stack: Path, name: str | None = None, trust: bool = False, listener: Listener = ignore, cancel: CancelToken | None = None
) -> ImportResult:
    """Make the layer that *archive* (a file, or FILE/NAME) stands for a layer of *stack*, with the ancestors that are in the archive.

    Ancestors that are not in it are looked for in the stack, by id. *name* is its new name; ancestors whose names are taken are then called
    NAME.THEIRS. *trust*: accept a file that somebody else owns.

    Raises:
        ImageError: it is no archive, is damaged, belongs to another user, or does not fit into the stack. Nothing was changed.
        BusyError: another process writes to the stack.
        Cancelled: nothing was changed.
    """
    storage = storage_of(archive)
    if not isinstance(storage, ArchiveStorage):
        raise ImageError("cannot import", str(archive), "it is a directory, not an archive")
    if not trust and (whose := untrusted_archive(storage.archive)):
        # As files of the caller they would be restored without a question.
        raise ImageError("cannot import", str(archive), whose, "--trust, if you know who made it")
    if name is not None and not NAME.fullmatch(name):
        raise ImageError("cannot import", f"as {name!r:.60}", "it is not a name for a layer", "letters, digits, dots, dashes")
    work = Work("import", str(archive), listener, cancel)
    try:
        chain = _chain_in(storage)
        with _existing(stack), lock.locked(stack):
            sweep_stack(stack)
            found = _bring_in(chain, stack, name, work)
    except OSError as error:
        raise cannot_write(stack, error.errno or 0) from error
    return ImportResult(storage.archive.path, found, work.done, work.elapsed_us)


@contextmanager
def _existing(stack: Path) -> Iterator[None]:
    """The directory *stack*, made if it is not there; after an error it is as before."""
    made = not os.path.lexists(stack)
    if made:
        stack.mkdir(mode=0o700)
    try:
        yield
    except BaseException:
        if made:
            with suppress(OSError):
                stack.rmdir()
        raise


def _chain_in(storage: ArchiveStorage) -> list[Layer]:
    """The layer and those of its ancestors that the archive has."""
    found: list[Layer] = []
    seen: set[str] = set()
    at: str | None = storage.layer
    while at is not None and at in storage.archive.layers:
        if at in seen or len(found) == MAX_DEPTH:
            raise ImageError("cannot import", str(storage.path), "its parents form a circle, or there are too many")
        seen.add(at)
        found.append(Layer(storage.archive.path / at, ArchiveStorage(storage.archive, at)))
        at = storage.archive.parent_of(at)
    return found


def _bring_in(chain: list[Layer], stack: Path, name: str | None, work: Work) -> tuple[Imported, ...]:
    there = {it.sidecar.layer_id: it.path for it in Stack.open(stack).layers if it.sidecar is not None and it.path.parent == stack}
    new: list[Layer] = []
    base: Path | None = None
    for layer in chain:
        base = there.get(layer.sidecar.layer_id) if layer.sidecar else None
        if base is not None:
            break
        new.append(layer)
    if base is None and new[-1].parent_link is not None:
        base = _parent_outside(new[-1], there)
    names = _names_for(new, stack, name)
    places = {layer.storage.key: stack / given for layer, given in zip(new, names, strict=True)}
    if new:
        _write(new, names, stack, base, work)
    known = [places.get(layer.storage.key) or there.get(layer.sidecar.layer_id if layer.sidecar else "") for layer in chain]
    return tuple(
        Imported(layer.storage.layer, path, layer.storage.key not in places)
        for layer, path in zip(chain, known, strict=True)
        if path is not None and isinstance(layer.storage, ArchiveStorage)
    )


def _parent_outside(layer: Layer, there: dict[str, Path]) -> Path:
    """The layer of the stack that is the parent of the last one in the archive."""
    wanted = layer.sidecar.parent_id if layer.sidecar else None
    found = there.get(wanted) if wanted else None
    if found is None:
        why = f"its parent {layer.parent_link} is neither in the archive nor in the stack"
        raise ImageError("cannot import", str(layer.path), why, "import an archive of the parent first")
    return found


def _names_for(new: list[Layer], stack: Path, name: str | None) -> list[str]:
    """The name of each in the stack, the leaf first."""
    taken: set[str] = set()
    found: list[str] = []
    for at, layer in enumerate(new):
        storage = layer.storage
        assert isinstance(storage, ArchiveStorage)
        word = names_in(storage.archive).get(storage.layer) or default_name(storage)
        if name is not None:
            free = not os.path.lexists(stack / word) and word != name
            word = name if at == 0 else word if free else f"{name}.{word}"
        if os.path.lexists(stack / word) or word in taken:
            raise ImageError("cannot import", str(layer.path), f"there is something called {word} in {stack}", "--as NAME")
        taken.add(word)
        found.append(word)
    return found


def _write(new: list[Layer], names: list[str], stack: Path, base: Path | None, work: Work) -> None:
    sizes = [info.disk_bytes for layer in new for it in layer.names() if (info := layer.info(it)) and info.is_file]
    work.total = sum(sizes)
    _refuse_full(stack, work.total)
    with staging(stack) as staged:
        if base is not None:
            (staged / base.name).symlink_to(f"../{base.name}")  # so that `parent` means here what it will mean there
        above = base.name if base else None
        for layer, name in zip(reversed(new), reversed(names), strict=True):
            unpack(layer, staged / name, f"../{above}" if above else None, work)
            above = name
        _refuse_broken(new, [Layer(staged / name) for name in names], work)
        publish(staged, names[::-1])


def _refuse_broken(sources: list[Layer], written: list[Layer], work: Work) -> None:
    """Read what was written, and compare it with its checksums. The leaf needs all; an ancestor may have lost pages to a dedup."""
    checker = Checker(Meter("verify", work.listener, work.cancel, f"import of {sources[0].path}"), written)
    for at, (source, layer) in enumerate(zip(sources, written, strict=True)):
        # What the leaf needs of the memory of an ancestor is among the findings of the leaf.
        bad = [it for it in checker.check(layer) if it.stops and (at == 0 or not (is_memory(it.file) or it.file == SIDECAR))]
        if bad:
            raise ImageError("cannot import", str(source.path), f"it is not whole: {bad[0].file}: {bad[0].why}", bad[0].fix)


def _refuse_full(stack: Path, need: int) -> None:
    info = os.statvfs(stack)
    free = (info.f_bfree if os.geteuid() == 0 else info.f_bavail) * info.f_frsize
    if info.f_blocks and free < need:
        why = f"no space left on device: {need >> 20} MiB needed, {free >> 20} MiB free"
        raise ImageError("cannot import", f"into {stack}", why, "free some space")
