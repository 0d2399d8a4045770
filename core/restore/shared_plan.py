"""Which shared anonymous memory a tree needs, and what is in it."""

import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lamina.core.errors import Blocker
from lamina.core.image import owners as owning
from lamina.core.image.layer import Layer
from lamina.core.image.owners import OwnerMap
from lamina.core.image.supplement import Values
from lamina.core.kinds.memory.vma_flags import MAP_NORESERVE
from lamina.core.kinds.memory.vmas import AreaPlan


@dataclass(frozen=True)
class ObjectPlan:
    """One object to be made.

    Attributes:
        size: bytes. owners: who holds its pages, as offsets.
    """

    size: int
    owners: OwnerMap


def plan_objects(layer: Layer, areas: Iterable[AreaPlan], kept: Mapping[int, Values]) -> dict[int, ObjectPlan]:
    """Number → the shared memory that *areas* of all tasks map. *kept*: `Supplement.objects`; of a set of criu as much as is mapped.

    Raises:
        ImageError: its pages cannot be found.
    """
    chain = layer.chain()
    sizes: dict[int, int] = {}
    for area in areas:
        if area.shared is not None:
            known = int(kept.get(area.shared, {}).get("size", 0))
            sizes[area.shared] = max(sizes.get(area.shared, 0), known or area.offset + area.end - area.start)
    found = {}
    for number, size in sizes.items():
        owners = owning.resolve(chain, f"shmem-{number}")
        last = int(owners.runs.ends[-1]) if owners.runs else 0
        found[number] = ObjectPlan(max(size, last), owners)
    return found


def blockers(objects: Mapping[int, ObjectPlan]) -> list[Blocker]:
    """Objects that cannot be made here: found by making one of that size, empty."""
    found = []
    for number, plan in objects.items():
        try:
            make(plan.size).close()
        except (OSError, OverflowError, ValueError) as error:
            found.append(Blocker(f"shared memory {number}", f"{plan.size} bytes cannot be mapped: {error}"))
    return found


def make(size: int) -> mmap.mmap:
    """An empty object of *size* bytes, mapped here. Raises as mmap(2)."""
    return mmap.mmap(-1, size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE)
