"""Relink: repairs a `parent` link that is broken or names the wrong layer after layers were moved or renamed.

The right parent has the id that the sidecar names. Layers made by CRIU have no ids; there the parent must be older, and its maps must cover
every inherited page. Often several layers do, because each layer of a chain maps the whole memory: then the name at the end of the old link
decides, and if that does not help, the user must.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import cannot_write
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.renames import sync_directory
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.stack import Stack
from lamina.core.verify.missing_pages import Cause, missing_finding, missing_pages

WHAT = "cannot relink"
NEW_LINK = ".lamina-parent.new"


@dataclass(frozen=True)
class Relinking:
    """What `relink` of a layer would do.

    Attributes:
        layer: the layer.
        parent: the layer its link is to name.
        link: the text of the new link.
        before: the text of the old one, or None if there was none.
        because: how the parent was found, in words.
        needed: the old link does not lead to it.
    """

    layer: Layer
    parent: Layer
    link: str
    before: str | None
    because: str
    needed: bool

    @property
    def still(self) -> str:
        """What is still broken above: the parent's own link, or one of its ancestors'; "" if the chain is complete."""
        try:
            self.parent.chain()
        except ImageError as error:
            return str(error)
        return ""


def plan_relink(layer: Layer, to: Path | None = None, search: Iterable[Path] = ()) -> Relinking:
    """Find the parent of *layer*, or check that *to* can be it. Changes nothing: this is the dry run.

    *search*: more directories of layers to look in besides the layer's own stack.

    Raises:
        ImageError: the layer lies in an archive, has no parent, or no layer or several could be it; or *to* cannot.
    """
    if not layer.storage.writable:
        layer.require_writable(WHAT)
    before = layer.parent_link
    if to is not None:
        parent, because = Layer(to), "named by --to"
        if why := _unfit(layer, parent):
            raise ImageError(WHAT, f"layer {layer.path}", f"{parent.name} is not its parent: {why}")
    else:
        parent, because = _find(layer, before, tuple(search))
    if not parent.storage.writable:
        raise ImageError(WHAT, f"layer {layer.path}", f"{parent.path} is in an archive", f"lamina import {parent.path} DIR")
    link = os.path.relpath(parent.directory, layer.directory)
    return Relinking(layer, parent, link, before, because, needed=not _leads_to(layer, parent))


def apply_relink(plan: Relinking) -> None:
    """Replace the old link by the new one in one step, under the lock of the stack.

    Raises:
        BusyError: another process writes to the stack.
        ImageError: the layers changed since the plan was made, or the link cannot be written.
    """
    layer = plan.layer
    with locked(stack_of(layer.directory)):
        if why := _unfit(Layer(layer.directory), Layer(plan.parent.directory)):
            raise ImageError(WHAT, f"layer {layer.path}", f"{plan.parent.name} is not its parent any more: {why}", "look again")
        new = layer.directory / NEW_LINK
        try:
            with suppress(FileNotFoundError):
                new.unlink()
            new.symlink_to(plan.link)
            new.replace(layer.directory / "parent")
            sync_directory(layer.directory)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise cannot_write(layer.directory, error.errno or 0) from error


def _find(layer: Layer, before: str | None, search: tuple[Path, ...]) -> tuple[Layer, str]:
    sidecar = layer.sidecar
    if before is None and (sidecar is None or sidecar.parent_id is None) and not _inherits(layer):
        raise ImageError(WHAT, f"layer {layer.path}", "it is a full layer: it inherits nothing")
    candidates = _candidates(layer, search)
    where = " and ".join(str(path) for path in (stack_of(layer.directory), *search))
    if sidecar and sidecar.parent_id:
        named = [it for it in candidates if (own := _sidecar(it)) and own.layer_id == sidecar.parent_id]
        fit = [it for it in named if not _unfit(layer, it)]
        if named and not fit:
            raise ImageError(WHAT, f"layer {layer.path}", f"{named[0].path} is its parent, but {_unfit(layer, named[0])}")
        if not fit and all(_sidecar(it) for it in candidates):
            why = f"its parent (id {sidecar.parent_id[:8]}) is not among the {len(candidates)} layers in {where}"
            raise ImageError(WHAT, f"layer {layer.path}", why, "name the directory it was moved to: --search DIR")
        if fit:
            return _only(layer, fit, before), f"it has the id {sidecar.parent_id[:8]} that the sidecar names"
    fit = [it for it in candidates if _time(it) <= _time(layer) and not _unfit(layer, it)]
    if not fit:
        why = f"no layer in {where} was dumped before it and has every page that it inherits"
        raise ImageError(WHAT, f"layer {layer.path}", why, "--search DIR looks elsewhere, too")
    return _only(layer, fit, before), "it was dumped before and has every page that is inherited"


def _only(layer: Layer, fit: list[Layer], before: str | None) -> Layer:
    """The one of *fit*, or the one that the old link named."""
    if len(fit) > 1:
        name = Path(before).name if before else ""
        same = [it for it in fit if it.name == name]
        if len(same) != 1:
            last = max(fit, key=lambda it: (_time(it), len(_above(it))))
            names = ", ".join(it.name for it in sorted(fit, key=_time))
            raise ImageError(
                WHAT, f"layer {layer.path}", f"several layers could be its parent: {names}",
                f"if it is the one dumped last before it: lamina relink {layer.path} --to {last.path}",
            )  # fmt: skip
        fit = same
    return fit[0]


def _candidates(layer: Layer, search: tuple[Path, ...]) -> list[Layer]:
    """Every layer in the searched directories except this one and its descendants. Their own links may be broken too."""
    found: dict[tuple[object, ...], Layer] = {}
    for directory in dict.fromkeys((stack_of(layer.directory), *search)):
        stack = Stack.open(directory)
        broken = [it.path for it in stack.unreadable]
        beside = [*broken, directory] if (directory / "inventory.img").exists() else broken
        for candidate in (*stack.layers, *stack.trashed, *filter(None, map(_opened, beside))):
            found.setdefault(candidate.key, candidate)
    return [it for key, it in found.items() if key != layer.key and layer.key not in _above(it)]


def _opened(path: Path) -> Layer | None:
    try:
        return Layer(path)
    except ImageError:
        return None


def _above(layer: Layer) -> set[tuple[object, ...]]:
    """The ancestors of a layer, up to the first broken link."""
    found: set[tuple[object, ...]] = set()
    try:
        while (above := layer.parent()) is not None and above.key not in found:
            found.add(above.key)
            layer = above
    except ImageError:
        pass
    return found


def _unfit(layer: Layer, parent: Layer) -> str:
    """Why *parent* cannot be the parent of *layer*, or ""."""
    own, other = layer.sidecar, _sidecar(parent)
    if parent.key == layer.key:
        return "it is the layer itself"
    if layer.key in _above(parent):
        return f"it depends on {layer.name} itself"
    if own and own.parent_id and other and other.made_by == "lamina" and other.layer_id != own.parent_id:
        return f"it has the id {other.layer_id[:8]}, not {own.parent_id[:8]}"
    for which, causes in missing_pages(layer, parent, {}).items():
        for lost in causes:
            if lost.cause in (Cause.NO_MAP, Cause.NOT_IN_MAP):
                finding = missing_finding(layer, which, lost)
                return f"{finding.file}: {finding.why}"
    return ""


def _inherits(layer: Layer) -> bool:
    return any(layer.pagemap(which).parent for which in layer.objects)


def _sidecar(layer: Layer) -> Sidecar | None:
    try:
        return layer.sidecar
    except ImageError:
        return None


def _time(layer: Layer) -> float:
    """When it was dumped: by its sidecar; else when its inventory was written, which copies that keep times keep."""
    own, inventory = _sidecar(layer), layer.info("inventory.img")
    return own.time if own else inventory.mtime if inventory else 0.0


def _leads_to(layer: Layer, parent: Layer) -> bool:
    try:
        found = layer.parent()
    except ImageError:
        return False
    return found is not None and found.key == parent.key
