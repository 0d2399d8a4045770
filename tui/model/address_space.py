"""What the map of an address space shows: areas by name, and paints for what is known of each page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from lamina.core.dirty.runs import PageRuns
from lamina.tui.model.cellmap import MapArea, Paint

if TYPE_CHECKING:
    from lamina.core.inspect.areas import MemoryArea

# This layer, its parent, the parent's parent, all before.
AGES = "█▓▒░"
# Kinds of areas whose absent pages are not zero: they are as in the file, or the kernel's.
_BACKED = {"file", "shared file", "vdso", "vvar", "vsyscall"}


@dataclass(frozen=True)
class AddressSpace:
    """One address space to be shown.

    Attributes:
        areas: ascending.
        paints: later ones lie above earlier ones.
    """

    areas: tuple[MapArea, ...] = ()
    paints: tuple[Paint, ...] = ()


def shown_areas(areas: "Sequence[MemoryArea]", data: PageRuns, only_with_data: bool = False) -> tuple[MapArea, ...]:
    """Areas as they are shown: neighbours of one object joined, and reserved address space left out.

    Args:
        areas: ascending.
        data: the pages that matter: a reserved area without any is left out; with *only_with_data* every area without any.
    """
    shown: list[MapArea] = []
    for area in areas:
        if (only_with_data or not area.prot) and not data.clip(area.start, area.end):
            continue
        kind = area.kind.value
        one = MapArea(area.start, area.end, _name(area.name, kind), kind, "·" if kind in _BACKED else ".")
        last = shown[-1] if shown else None
        if last is not None and (last.name, last.note) == (one.name, one.note) and (last.end == one.start or kind == "file"):
            shown[-1] = replace(last, end=one.end)
        else:
            shown.append(one)
    return tuple(shown)


def by_age(owned: Sequence[PageRuns]) -> list[Paint]:
    """Paints for what each layer of a chain owns, the layer itself first. All but the nearest three share the oldest age."""
    nearest = len(AGES) - 1
    near = [*owned[:nearest], *[PageRuns.empty()] * (nearest - len(owned))]
    # One union of all: one after the other would go over the oldest again for each of a hundred layers.
    far = [runs for runs in owned[nearest:] if runs]
    old = PageRuns.from_arrays(np.concatenate([runs.starts for runs in far]), np.concatenate([runs.ends for runs in far])) if far else None
    return [Paint(glyph, runs) for glyph, runs in zip(reversed(AGES), (old or PageRuns.empty(), *reversed(near)), strict=True)]


def _name(name: str, kind: str) -> str:
    if name.startswith("[anon:"):
        return name[6:-1]
    return PurePosixPath(name.removesuffix(" (deleted)")).name.strip("[]") or kind
