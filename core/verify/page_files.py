"""Checks the files of a layer that its children need too: the maps, the pages files, the inventory."""

from collections.abc import Iterator
from functools import partial

from lamina.core.dirty.runs import PAGE
from lamina.core.events import Meter
from lamina.core.image.layer import Layer, Object
from lamina.core.image.punched import freed_in, holes_in
from lamina.core.image.sums import differing_block
from lamina.core.verify.collect import collect
from lamina.core.verify.findings import Finding, Severity
from lamina.core.verify.reading import read_through


def check_memory(layer: Layer, meter: Meter | None) -> list[Finding]:
    """What is wrong with the memory of *layer* itself, without its ancestors. With a *meter*, the pages files are read too."""
    found = collect(layer, "inventory.img", partial(_inventory, layer))
    owners: dict[str, Object] = {}
    for which in layer.objects:
        found += collect(layer, layer.map_name(which), partial(_pages_file, layer, which, owners))
    found += collect(layer, "lamina.json", partial(_recorded, layer))
    if meter:
        unsummed: list[str] = []
        for name in pages_files(layer):
            wanted = layer.pagemap(owners[name]).data_bytes if name in owners else 0
            found += collect(layer, name, partial(_contents, layer, name, wanted, meter, unsummed))
        if unsummed:
            why = "no checksum was written with its pages: they were read, and there is nothing to compare them with"
            found.append(Finding.of(layer, unsummed[0] if len(unsummed) == 1 else "", why, Severity.NOTICE))
    return found


def is_memory(name: str) -> bool:
    """Whether a child needs the file *name* of its ancestors."""
    return name.startswith(("pagemap-", "pages-")) or name == "inventory.img"


def pages_files(layer: Layer) -> list[str]:
    """The pages files that are there."""
    return [name for name in layer.names() if name.startswith("pages-") and name.endswith(".img")]


def _inventory(layer: Layer) -> Iterator[Finding]:
    record = layer.inventory
    if not layer.is_pre_dump and not record.fdinfo_per_id:
        yield Finding.of(layer, "inventory.img", "an image set of before 2013 (no fdinfo_per_id)")
    sidecar = layer.sidecar
    if sidecar and sidecar.page_size != PAGE:
        yield Finding.of(layer, "lamina.json", f"made with pages of {sidecar.page_size} bytes, this machine has {PAGE}")


def _pages_file(layer: Layer, which: Object, owners: dict[str, Object]) -> Iterator[Finding]:
    pagemap = layer.pagemap(which)
    if layer.pages_elsewhere:
        return
    name = layer.pages_name(which)
    if name in owners and pagemap.data_bytes:
        yield Finding.of(layer, f"pagemap-{which}.img", f"names {name}, which belongs to pagemap-{owners[name]}.img")
        return
    if pagemap.data_bytes:
        owners[name] = which
    info = layer.info(name)
    if info is None:
        if pagemap.data_bytes:
            yield Finding.of(layer, name, "missing")
    elif not info.is_file:
        yield Finding.of(layer, name, "not a regular file")
    elif info.size != pagemap.data_bytes:
        word = "shorter" if info.size < pagemap.data_bytes else "longer"
        yield Finding.of(layer, name, f"{word} than its map says: {info.size} bytes, not {pagemap.data_bytes}")


def _recorded(layer: Layer) -> Iterator[Finding]:
    """The maps and the inventory are always verified: they are read anyway, and one wrong bit is a wrong page."""
    sidecar = layer.sidecar
    there = set(layer.names())  # a name in a sidecar may be anything: what is not in the list is not looked at
    for name, expected in sidecar.checksums.items() if sidecar else ():
        if not is_memory(name):
            continue
        info = layer.info(name) if name in there else None
        if info is None:
            yield Finding.of(layer, name, "missing")
        elif info.size != expected.size:
            yield Finding.of(layer, name, f"has {info.size} bytes, was written with {expected.size}")
        elif not name.startswith("pages-"):
            with layer.open(name) as content:
                if why := differing_block(content, expected):
                    yield Finding.of(layer, name, why)


def _contents(layer: Layer, name: str, wanted: int, meter: Meter, unsummed: list[str]) -> Iterator[Finding]:
    """*wanted*: the size of the file according to its map. A file of another size is a finding already, and reading it might never end."""
    sidecar = layer.sidecar
    expected = sidecar.checksums.get(name) if sidecar else None
    with layer.open(name) as content:
        if expected is None and content.size == wanted:
            read_through(content, holes_in(layer, name, content), meter)
            unsummed.append(name)
        elif expected is not None and content.size == expected.size == wanted:
            # Holes are zeros without being read: that is much of a layer that dedup went over.
            zeros = freed_in(layer, name).recorded | holes_in(layer, name, content)
            if why := differing_block(content, expected, zeros, meter.step):
                yield Finding.of(layer, name, why)
