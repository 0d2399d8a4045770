"""Checks every file of a layer, also those that no restore reads: is it what its name says, and what was written?"""

import re
from collections.abc import Collection, Iterator
from functools import partial

from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import DRAFT
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import RECEIVED_NAME, TERMINAL_NAME
from lamina.core.image.sums import differing_block
from lamina.core.verify.collect import collect, readable
from lamina.core.verify.findings import Finding, Severity
from lamina.core.verify.page_files import is_memory

# No program is restored from statistics, nor from what a terminal showed.
_STATISTICS = ("stats-", "irmap-cache", TERMINAL_NAME)
# Images without head or records (lamina.core.image.format.catalogue).
_RAW_NAMES = "ifaddr|route|route6|rule|iptables|ip6tables|nftables|netns-ct|netns-exp|tmpfs|tmpfs-dev|autofs"
_RAW = re.compile(rf"({_RAW_NAMES})-[A-Za-z0-9.-]+\.img")
# Of a task that is not in the tree, they are of no use.
_BY_TASK = {"core", "ids", "mm", "fs", "fdinfo", "pagemap"}


def check_files(layer: Layer, used: Collection[str] | None) -> list[Finding]:
    """*used* are the images that the tasks refer to, which were read already; None if the tasks could not be read."""
    found = collect(layer, SIDECAR, partial(_recorded, layer))
    named = {layer.pages_name(which) for which in layer.objects if readable(partial(layer.pages_name, which))}
    for name in layer.names():
        kind = fmt.kind_of_file(name)
        if (used and name in used) or (kind is fmt.PAGEMAP and not _is_orphan(name, used)):
            continue
        if kind is not None:
            orphan = used is not None and kind.name in _BY_TASK
            severity = Severity.SUSPICIOUS if orphan or name.startswith(_STATISTICS) else Severity.STOPS
            found += collect(layer, name, partial(_decodes, layer, name, kind), severity)
            if orphan:
                found.append(Finding.of(layer, name, "belongs to no task of pstree.img", Severity.SUSPICIOUS))
        elif re.fullmatch(r"pages-\d+\.img", name):
            if name not in named:
                found.append(Finding.of(layer, name, "no map names it", Severity.SUSPICIOUS))
        elif name.endswith(".img") and not _RAW.fullmatch(name):
            found.append(Finding.of(layer, name, "not a type of image that is known", Severity.NOTICE))
    return found + _unlisted(layer)


def _is_orphan(name: str, used: Collection[str] | None) -> bool:
    return used is not None and not name.startswith("pagemap-shmem-") and name not in used


def _decodes(layer: Layer, name: str, kind: fmt.ImageKind) -> Iterator[Finding]:  # type: ignore[type-arg]  # of whatever messages
    for _ in fmt.records_of(layer.read(name), kind, str(layer.file(name))):
        pass
    yield from ()


def _recorded(layer: Layer) -> Iterator[Finding]:
    """The files that the sidecar lists, except those of the memory. They are small and always verified: one bit is a wrong register."""
    sidecar = layer.sidecar
    there = set(layer.names())  # a name in a sidecar may be anything: what is not in the list is not looked at
    for name, expected in sidecar.checksums.items() if sidecar else ():
        if is_memory(name):
            continue
        severity = Severity.SUSPICIOUS if name.startswith(_STATISTICS) else Severity.STOPS
        if name not in there:
            yield Finding.of(layer, name, "missing", severity)
            continue
        with layer.open(name) as content:
            if why := differing_block(content, expected):
                yield Finding.of(layer, name, why, severity)


def _unlisted(layer: Layer) -> list[Finding]:
    names = layer.names()
    found = []
    if DRAFT in names:
        found.append(Finding.of(layer, DRAFT, "left by a lamina that died; the next command that writes here removes it", Severity.NOTICE))
    sidecar = layer.sidecar if readable(lambda: layer.sidecar) else None
    if sidecar is None or not sidecar.checksums or sidecar.made_by == "page-server":
        return found
    known = {*sidecar.checksums, SIDECAR, RECEIVED_NAME, "parent", TERMINAL_NAME, "lamina", "stats-restore"}
    extra = [name for name in names if name not in known and not name.startswith(".lamina") and not name.endswith(".log")]
    return found + [Finding.of(layer, name, "was not written by the dump of this layer", Severity.NOTICE) for name in extra]
