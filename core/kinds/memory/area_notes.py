"""What a `vma_entry` has no field for: the NUMA policy of a mapping, a lock that waits for the first touch, the name of anonymous memory.

Kept in the supplement, by address.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import Area
from lamina.core.image.supplement import AreaNote, Value, Values
from lamina.core.kinds.memory import mempolicy
from lamina.core.objects.attempt import Attempt

_PR_SET_VMA, _PR_SET_VMA_ANON_NAME = 0x53564D41, 0
_NAMED: Final = ("[anon:", "[anon_shmem:")


def notes(policies: Mapping[int, str], areas: Sequence[Area]) -> dict[int, dict[str, Value]]:
    """Start of a mapping → what is to be kept of it. *policies*: what `mempolicy.AreaPolicies` found inside the freeze."""
    found: dict[int, dict[str, Value]] = {start: {"mempolicy": text} for start, text in policies.items()}
    for area in areas:
        if "lf" in area.flags:
            found.setdefault(area.start, {})["mlock_onfault"] = 1
        if area.path.startswith(_NAMED):
            found.setdefault(area.start, {})["name"] = area.path.partition(":")[2].removesuffix("]")
    return found


def save(notes: Mapping[int, Values], areas: Sequence[Area]) -> tuple[AreaNote, ...]:
    """For the supplement, ascending."""
    return tuple(AreaNote(area.start, area.end, notes[area.start]) for area in areas if area.start in notes)


def rebuild(notes: Sequence[AreaNote], pid: int, calls: CallList) -> list[Attempt]:
    """Step 7, in the leader, after the mappings are made and before their pages come, which policies place. Locks: `vmas.protect`."""
    done = []
    for note in notes:
        size, where = note.end - note.start, f"process {pid}: memory at {note.start:#x}"
        if policy := note.values.get("mempolicy"):
            call = mempolicy.rebuild_area(note.start, size, str(policy), calls)
            done.append(Attempt(call, lambda _, text=f"{where} had the NUMA policy {policy}, which cannot be set": text))  # type: ignore[misc]
        if name := note.values.get("name"):
            call = calls.add("prctl", _PR_SET_VMA, _PR_SET_VMA_ANON_NAME, note.start, size, calls.path(str(name)), any_result=True)
            done.append(Attempt(call, lambda _, text=f"{where} had the name {name}, which cannot be set": text))  # type: ignore[misc]
    return done


def locked_on_fault(notes: Sequence[AreaNote]) -> set[int]:
    """Addresses of the mappings whose lock waits for the first touch, for `vmas.plan`."""
    return {note.start for note in notes if "mlock_onfault" in note.values}
