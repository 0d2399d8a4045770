"""Missing pages: a layer's map lists them, and no layer has their content.

Only the direct parent is looked at, whose own missing pages are known by then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer, Object
from lamina.core.image.owners import to_addresses
from lamina.core.image.punched import freed_in
from lamina.core.verify.collect import first, pages
from lamina.core.verify.findings import Finding


class Cause(Enum):
    """Why a page is missing."""

    NO_PARENT = "inherited by a layer without a parent"
    NO_MAP = "inherited, but the parent has no map of this task"
    NOT_IN_MAP = "inherited, but not in the parent's map"
    NO_DATA = "a lazy dump that was never completed"
    PUNCHED = "punched by dedup"
    FOREIGN = "punched by another tool"


@dataclass(frozen=True)
class Missing:
    """Pages that are missing for one cause.

    Attributes:
        cause: why.
        layer: the layer where they are missing: it has no parent to inherit from, its map lacks them, or its pages file was punched.
        runs: the pages, as addresses.
    """

    cause: Cause
    layer: Layer
    runs: PageRuns


MissingPages = Mapping[Object, tuple[Missing, ...]]


def missing_pages(layer: Layer, parent: Layer | None, parents: MissingPages) -> dict[Object, tuple[Missing, ...]]:
    """By task or shared object, the pages of *layer* whose content no layer has. *parents* are those of its *parent*.

    Maps that cannot be read are left out; other checks report them.
    """
    table: dict[Object, tuple[Missing, ...]] = {}
    for which in layer.objects:
        try:
            found = tuple(missing for missing in _own(layer, which) if missing.runs)
            found += tuple(missing for missing in _inherited(layer, which, parent, parents) if missing.runs)
        except ImageError:
            continue
        if found:
            table[which] = found
    return table


def _own(layer: Layer, which: Object) -> Iterator[Missing]:
    pagemap = layer.pagemap(which)
    yield Missing(Cause.NO_DATA, layer, pagemap.nowhere)
    freed = freed_in(layer, layer.pages_name(which))
    if freed.recorded:
        yield Missing(Cause.PUNCHED, layer, to_addresses(pagemap.present, freed.recorded))
    if freed.foreign:
        yield Missing(Cause.FOREIGN, layer, to_addresses(pagemap.present, freed.foreign))


def _inherited(layer: Layer, which: Object, parent: Layer | None, parents: MissingPages) -> Iterator[Missing]:
    wanted = layer.pagemap(which).parent
    if not wanted:
        return
    if parent is None:
        yield Missing(Cause.NO_PARENT, layer, wanted)
    elif which not in parent.held:
        yield Missing(Cause.NO_MAP, parent, wanted)
    else:
        there = parent.pagemap(which).all
        if not there.covers(wanted):
            yield Missing(Cause.NOT_IN_MAP, parent, wanted - there)
        for missing in parents.get(which, ()):
            yield replace(missing, runs=wanted & missing.runs)


def missing_finding(layer: Layer, which: Object, missing: Missing) -> Finding:
    """The finding about pages that *layer* lists and does not have."""
    file = f"pagemap-{which}.img"
    count, where, owner = pages(missing.runs.pages), first(missing.runs), missing.layer.name
    own = missing.layer is layer
    needed = f"{missing.runs.pages} of its pages" if own else f"{count} it needs of {owner}"
    were = "was" if missing.runs.pages == 1 else "were"
    sidecar = missing.layer.sidecar
    relink = f"if that is not the layer it was dumped on: lamina relink {layer.path}"
    match missing.cause:
        case Cause.NO_PARENT if own:
            return Finding.of(layer, file, f"it inherits {count}, but it has no parent ({where})", fix=f"lamina relink {layer.path}")
        case Cause.NO_PARENT:
            why = f"{needed} are inherited there, but {owner} has no parent ({where})"
            return Finding.of(layer, file, why, fix=f"lamina relink {missing.layer.path}")
        case Cause.NO_MAP:
            return Finding.of(layer, file, f"{count} it inherits: {owner} has no {file} ({where})", fix=relink)
        case Cause.NOT_IN_MAP:
            why = f"{count} it inherits {'is' if missing.runs.pages == 1 else 'are'} not in {file} of {owner} ({where})"
            return Finding.of(layer, file, why, fix=relink)
        case Cause.NO_DATA:
            have = "has" if missing.runs.pages == 1 else "have"
            return Finding.of(layer, file, f"{needed} {have} no data: a lazy dump that was never completed ({where})")
        case Cause.PUNCHED:
            by = ", ".join(sidecar.punched_by) if sidecar and sidecar.punched_by else "a dedup"
            return Finding.of(layer, file, f"{needed} {were} punched by {by} ({where})")
        case Cause.FOREIGN:
            return Finding.of(layer, file, f"{needed} {were} punched by another tool ({where})")
