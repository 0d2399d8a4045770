"""A rebuilt process stands on the layer it came from: its state file says so, and if the layer was tracked, tracking goes on from there."""

import json

from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import describe, read_maps
from lamina.core.dirty.shared_memory import Witness, mappings_of
from lamina.core.dump.watched import Remembered, Watched
from lamina.core.errors import LaminaError
from lamina.core.image.layer import Layer
from lamina.core.restore.plan import RestorePlan
from lamina.core.restore.process import Rebuilding


def stand_on(process: Rebuilding, layer: Layer, arm: bool) -> str:
    """Before the process runs and while it still has its scratch range. *arm*: track it from here, if the layer was tracked.

    A process that cannot be tracked is restored all the same. Returns the reason as a sentence for the user, or "".
    """
    sidecar = layer.sidecar
    if sidecar is None:
        return ""
    watched = Watched(process.pid)
    try:
        notice = _arm(watched, process) if arm and sidecar.tracked else ""
        watched.settle(sidecar.layer_id, str(layer.directory))
    finally:
        watched.close()
    return notice


def remember_shared_memory(plan: RestorePlan) -> None:
    """After `stand_on` of all: who has which shared memory mapped, so that the next dump knows that nobody else wrote into it."""
    if not plan.objects:
        return
    mappings = mappings_of({task.pid: read_maps(task.pid) for task in plan.living})
    numbers = {(task.pid, area.start): area.shared for task in plan.living for area in task.areas if area.shared is not None}
    ids = {key: numbers[one.pid, one.start] for key, mapped in mappings.items() for one in mapped if (one.pid, one.start) in numbers}
    witness = Witness.of((task.pid for task in plan.living), mappings, ids)
    Remembered(identify(plan.root.pid)).update(shared=json.dumps(vars(witness)))


def _arm(watched: Watched, process: Rebuilding) -> str:
    if not watched.can_track:
        return f"{describe(process.pid)} is not tracked: {getattr(watched.tracker, 'reason', 'no tracker works here')}"
    areas = [area for area in read_maps(process.pid) if not process.scratch[0] <= area.start < process.scratch[1]]
    try:
        watched.arm(process.leader, areas)
        watched.tracker.protect(areas, live=False)
        watched.tracker.scan_shared([area for area in areas if area.is_shared_memory], protect=True, live=False)
    except LaminaError as error:
        return f"{describe(process.pid)} is not tracked: {error}"
    return ""
