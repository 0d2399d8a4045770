"""The target: the process that the user works on, the layer it is on, and the stack that its next layer goes to."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import read_stat
from lamina.core.errors import TargetError, in_one_line
from lamina.tui import paths

if TYPE_CHECKING:
    from lamina.core.dirty.state import TargetState


@dataclass(frozen=True)
class Target:
    """One process as lamina knows it.

    Attributes:
        pid, name, identity: who it is.
        stack: where its next layer goes.
        layer: its last layer, which the next dump builds on, or None.
        tracker: the tracker that tracks it, or "".
        alive: it still runs.
        why_untracked: why it is no longer tracked, so that the next dump will be a full one, or "".
    """

    pid: int
    name: str
    identity: Identity
    stack: Path
    layer: Path | None = None
    tracker: str = ""
    alive: bool = True
    why_untracked: str = ""


def look_up(pid: int, stack: Path | None) -> Target:
    """The target *pid*. *stack*, if the user gave one, is used instead of the default stack of the process.

    Raises:
        TargetError: there is no such process.
    """
    stat, identity = read_stat(pid), identify(pid)
    state = known_state(identity)
    layer = Path(state.layer_dir) if state and state.layer_dir else None
    if layer is not None and not layer.is_dir():
        layer = None
    # A restored program has a new start time: its stack is that of the layer it came from.
    place = stack or (layer.parent if layer else paths.default_stack(stat.comm, identity))
    tracker = state.tracker if state and is_tracker(state.tracker) else ""
    alive = stat.state not in "ZX"
    why = _why_untracked(state) if state and tracker and alive else ""
    return Target(pid, in_one_line(stat.comm), identity, place, layer, "" if why else tracker, alive, why)


def _why_untracked(state: "TargetState") -> str:
    from lamina.core.dirty.lost import why_lost

    return why_lost(state)


def is_tracker(name: str) -> bool:
    """Whether *name*, from a state file, is that of a tracker."""
    return name not in ("", "none")


def known_state(identity: Identity) -> "TargetState | None":
    """What lamina remembers of *identity*; also None if this user has no directory for that, where reading must work all the same."""
    from lamina.core.dirty.state import load

    try:
        return load(identity)
    except TargetError:
        return None


def known_states() -> "list[TargetState]":
    """What lamina remembers of all processes; nothing if this user has no directory for that."""
    from lamina.core.dirty.lost import seen_states

    try:
        return seen_states()
    except TargetError:
        return []
