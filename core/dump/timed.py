"""Timed layers: one layer after the other of a running tree, by the clock or by what it writes, until it ends or somebody says stop."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import describe, read_stat
from lamina.core.attach.tracer import tracer
from lamina.core.dirty.state import load
from lamina.core.dirty.untracked import NAME as UNTRACKED
from lamina.core.dump.dirtied import Dirtied
from lamina.core.dump.next_layer import drop_if_empty, make_layer_dir, request_for
from lamina.core.dump.request import DumpResult
from lamina.core.dump.rhythm import Due, Rhythm, Timed
from lamina.core.dump.session import dump
from lamina.core.errors import BusyError, LaminaError, TargetError
from lamina.core.events import CancelToken, Listener, Notice, ignore
from lamina.core.image.layer import Layer
from lamina.core.rewrite.drop import plan_drop
from lamina.core.rewrite.plan import apply

# Between two looks at what was written: at least this, and twenty times what a look costs.
_LOOK_S = 0.1
_LONGEST_LOOK_S = 1.0


@dataclass(frozen=True)
class TimedRequest:
    """One `lamina every`.

    Attributes:
        pid: root of the tree.
        stack: where the layers go, numbered on.
        rhythm: when.
        count: stop after so many layers; None for no end.
        shell_job: as in `DumpRequest`.
    """

    pid: int
    stack: Path
    rhythm: Rhythm
    count: int | None = None
    shell_job: bool = False


@dataclass(frozen=True)
class TimedLayer:
    """One layer of a run.

    Attributes:
        result: the dump.
        why: why it was taken then.
        removed: layers of the run that went for it, by `keep_last`.
    """

    result: DumpResult
    why: str
    removed: tuple[Path, ...] = ()


def take_layers(request: TimedRequest, listener: Listener = ignore, cancel: CancelToken | None = None) -> Iterator[TimedLayer]:
    """Take layers until *cancel* is set (the layer under way is finished), `count` is reached, or the tree has ended, which is told.

    Raises:
        LaminaError: the first dump failed, or several one after the other.
    """
    cancel = cancel or CancelToken()
    identity = identify(request.pid)
    timed = Timed(request.rhythm, time.monotonic())
    taken: list[Path] = []
    with closing(Dirtied(request.pid)) as dirtied:
        while request.count is None or timed.layers < request.count:
            due = _wait(timed, identity, dirtied, cancel)
            if due is None:
                break
            layer = _step(request, timed, due, identity, listener)
            if layer is not None:
                taken.append(layer.images_dir)
                yield TimedLayer(layer, due.why, thin(taken, request.rhythm.keep_last, listener))
    if not cancel.cancelled and not _runs(identity):
        listener(Notice(f"{describe(request.pid)} has ended, after {timed.layers} timed layer{'' if timed.layers == 1 else 's'}"))


def _wait(timed: Timed, identity: Identity, dirtied: Dirtied, cancel: CancelToken) -> Due | None:
    """Until a layer is due; None if there will be no other."""
    by_size = timed.rhythm.dirtied is not None
    while not cancel.cancelled and _runs(identity):
        began = time.monotonic()
        try:
            due = timed.due(began, dirtied.count() if timed.layers and (by_size or timed.left(began) == 0) else None)
        except TargetError:
            if _runs(identity):
                raise
            return None
        if due is not None:
            return due
        now = time.monotonic()
        look = min(_LONGEST_LOOK_S, max(_LOOK_S, 20 * (now - began)))
        left = timed.left(now)
        cancel.wait(look if left is None else min(look, max(left, 0.001)))
    return None


def _step(request: TimedRequest, timed: Timed, due: Due, identity: Identity, listener: Listener) -> DumpResult | None:
    """One beat: a layer, or why there is none."""
    if due.skip:
        if timed.skip(due, time.monotonic()):
            listener(Notice(f"{due.why}, but nothing was written: no layer until something is"))
        return None
    try:
        result = take_one(request.pid, request.stack, request.shell_job, listener)
    except BusyError as error:
        if timed.skip(due, time.monotonic(), busy=True):
            listener(Notice(f"no layer now: {error}"))
        return None
    except LaminaError as error:
        if not _runs(identity) and timed.layers:
            return None
        if timed.failed(due, time.monotonic()):
            raise
        listener(Notice(f"no layer now: {error}"))
        return None
    if request.rhythm.dirtied is not None and result.tracker == UNTRACKED:
        raise TargetError(
            "cannot go on", f"with {describe(request.pid)}", "its memory cannot be tracked, so nobody knows what it has written",
            "give only a time",
        )  # fmt: skip
    timed.taken(due, time.monotonic())
    return result


def take_one(pid: int, stack: Path, shell_job: bool, listener: Listener = ignore) -> DumpResult:
    """The next layer of *pid* in *stack*, on the one it stands on. Raises as `dump`."""
    state = load(identify(pid))
    parent = Path(state.layer_dir) if state is not None and state.layer_dir else None
    layer = make_layer_dir(stack)
    stop = CancelToken()
    try:
        return dump(request_for(pid, layer, parent if parent is not None and parent.is_dir() else None, shell_job), listener, stop)
    except BaseException:
        stop.cancel()
        tracer().call(int)  # interrupted, the dump is still undoing itself there
        drop_if_empty(layer)
        raise


def thin(taken: list[Path], keep_last: int | None, listener: Listener = ignore) -> tuple[Path, ...]:
    """Remove for good all but the newest *keep_last* of the layers *taken* by this run, oldest first.

    Other layers of the stack are never touched, and those that were pinned or labelled meanwhile stay. What cannot go now is told, and
    goes next time.
    """
    if keep_last is None or len(taken) <= keep_last:
        return ()
    going = taken[:-keep_last]
    try:
        layers = [Layer(path) for path in going if path.is_dir()]
        free = [layer for layer in layers if layer.sidecar and not layer.sidecar.pinned and not layer.sidecar.label]
        if free:
            apply(plan_drop(free, for_good=True), listener)
    except LaminaError as error:
        listener(Notice(f"older layers stay for now: {error}"))
        return ()
    del taken[:-keep_last]
    return tuple(layer.directory for layer in free)


def _runs(identity: Identity) -> bool:
    try:
        return identify(identity.pid) == identity and read_stat(identity.pid).state not in "ZX"
    except TargetError:
        return False
