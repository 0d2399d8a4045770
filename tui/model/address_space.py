"""What the map of an address space shows, of a layer or of a running target: areas by name, and paints by what is known of each page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lamina.core.dirty.runs import PageRuns
from lamina.tui.model.cellmap import MapArea, Paint

# This layer, its parent, the parent's parent, all before.
AGES = "█▓▒░"
_SPECIAL = {"[heap]": "heap", "[stack]": "stack", "[vdso]": "vdso", "[vvar]": "vvar", "[vvar_vclock]": "vvar", "[vsyscall]": "vsyscall"}


@dataclass(frozen=True)
class AddressSpace:
    """One address space to be shown.

    Attributes:
        areas: ascending.
        paints: later ones lie above earlier ones.
    """

    areas: tuple[MapArea, ...] = ()
    paints: tuple[Paint, ...] = ()


def area_name(path: str) -> str:
    """What an area is called: "heap", "libc.so.6", "anon"."""
    if path in _SPECIAL:
        return _SPECIAL[path]
    if path.startswith("[anon:"):
        return path[6:-1]
    return PurePosixPath(path.removesuffix(" (deleted)")).name or "anon"


def by_age(owned: Sequence[PageRuns]) -> list[Paint]:
    """Paints for what each layer of a chain owns, the layer itself first; of all but the nearest three the age is one."""
    ages = [PageRuns.empty() for _ in AGES]
    for depth, runs in enumerate(owned):
        at = min(depth, len(AGES) - 1)
        ages[at] = ages[at] | runs
    return [Paint(glyph, runs) for glyph, runs in zip(reversed(AGES), reversed(ages), strict=True)]
