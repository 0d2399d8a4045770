"""What a new layer may stand on, and what it may leave to its parent.

Dirty bits belong to a layer: the tracker tells what changed since one particular layer, and only that one may be the parent of an
increment. Any other layer of the same program may be named as parent, but then nothing is inherited: every page is written, and that is
said. A layer of another program is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import describe
from lamina.core.dirty.runs import PageRuns
from lamina.core.dirty.state import TargetState
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.owners import covered


@dataclass(frozen=True)
class Lineage:
    """The parent of the layer being made.

    Attributes:
        parent: the layer that `parent` will name; None for a full dump without one.
        layer_id: the parent's id, "" if there is none.
        why_not: why nothing may be inherited from it; "" if the tracker counts from exactly this layer.
    """

    parent: Layer | None = None
    layer_id: str = ""
    why_not: str = ""

    def inheritable(self, pid: int, state: TargetState | None) -> PageRuns:
        """The pages of task *pid* that the new layer may leave to its parent, given what is remembered of that task."""
        if not self.parent or self.why_not or not state or not state.settled or state.layer_id != self.layer_id:
            return PageRuns.empty()
        if pid not in self.parent.pids:
            return PageRuns.empty()
        return covered(self.parent.chain(), pid)


def decide(parent: Layer | None, identity: Identity, state: TargetState, why_unknown: Callable[[str], str]) -> Lineage:
    """Whether *parent* may be the parent of a layer of *identity*, and whether anything may be inherited.

    Args:
        state: what is remembered of the process.
        why_unknown: tells why its dirty bits do not count from the layer of an id, "" if they do (`Watched.why_nothing_is_known`).

    Raises:
        ImageError: it is a layer of another program, or of an earlier life of this one.
    """
    if parent is None:
        return Lineage()
    sidecar = parent.sidecar
    stands_on = state.layer_id
    if sidecar is None or (sidecar.made_by != "lamina" and sidecar.layer_id != stands_on):
        # criu does not say which life of the pid it dumped; what is written is everything, so a wrong guess costs only room.
        _same_root(parent, identity)
        layer_id = sidecar.layer_id if sidecar else ""
        return Lineage(parent, layer_id, f"{parent.name} was not made by lamina, so no tracker counts from it")
    own = (sidecar.pid, sidecar.start_time, sidecar.boot) == (identity.pid, identity.start_time, identity.boot)
    if sidecar.layer_id != stands_on and not own and not _is_ancestor(parent, state):
        raise ImageError(
            "cannot dump on",
            f"layer {parent.path}",
            f"it is a layer of another process ({_whose(sidecar.pid, sidecar.cmdline)}), not of {describe(identity.pid)} as it runs now",
            "leave out --prev-images-dir for a full dump",
        )
    return Lineage(parent, sidecar.layer_id, why_unknown(sidecar.layer_id))


def _same_root(parent: Layer, identity: Identity) -> None:
    if identity.pid not in parent.pids:
        raise ImageError(
            "cannot dump on", f"layer {parent.path}", f"it has no task {identity.pid}", "leave out --prev-images-dir for a full dump"
        )


def _is_ancestor(layer: Layer, state: TargetState) -> bool:
    """Whether *layer* is below the one the process stands on: a restored program may be dumped on any of its own past."""
    wanted = layer.sidecar
    if not state.layer_dir or wanted is None:
        return False
    try:
        chain = Layer(Path(state.layer_dir)).chain()
    except ImageError:
        return False
    return any(one.sidecar and one.sidecar.layer_id == wanted.layer_id for one in chain)


def _whose(pid: int, cmdline: tuple[str, ...]) -> str:
    return f"{pid}: {' '.join(cmdline)[:60]}" if cmdline else str(pid)
