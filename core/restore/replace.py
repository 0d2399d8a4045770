"""`restore --replace`: end the running tree of the same pids and restore the layer in its place.

The point of no return is late. Everything that can be known is checked first, with checksums; then a rescue layer of what runs is dumped,
and that same dump ends it, so that nothing the program did is lost. If the restore then fails, the rescue layer is restored.
"""

import os
import time
from contextlib import suppress
from dataclasses import replace as changed
from pathlib import Path

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import describe, read_cmdline, read_stat, read_status, threads_of, tree_of
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.dirty import state as states
from lamina.core.dump.request import DumpRequest
from lamina.core.dump.session import dump
from lamina.core.dump.standing import protected
from lamina.core.errors import Blocker, LaminaError, RefusedError, TargetError
from lamina.core.events import CancelToken, Listener, Meter, Notice, Progress
from lamina.core.image.layer import Layer
from lamina.core.image.trust import held_layer
from lamina.core.restore import machine
from lamina.core.restore.carry_out import carry_out
from lamina.core.restore.plan import RestorePlan, make_plan, refuse_damaged
from lamina.core.restore.reading import reading
from lamina.core.restore.request import RestoreRequest, RestoreResult

_SIGCHLD_BIT = 1 << 16
_REAP_S = 20.0
"""What ended has to be reaped by its parent; an init may take seconds for it."""
_WAITING_CALLS = ("61", "247")
"""wait4 and waitid, as /proc/TID/syscall shows them."""


def replace(request: RestoreRequest, listener: Listener, cancel: CancelToken) -> RestoreResult:
    """Restore in the place of the tree that runs now; otherwise as `run.restore`.

    Raises:
        RefusedError: before anything was touched.
        LaminaError: the restore failed; the text says whether the rescue layer runs instead.
    """
    started = time.monotonic_ns()
    listener(Progress("verify"))
    with held_layer(request.images_dir, request.trust) as layer:
        return _replace(layer, request, listener, cancel, started)


def _replace(layer: Layer, request: RestoreRequest, listener: Listener, cancel: CancelToken, started: int) -> RestoreResult:
    root = layer.pstree[0].pid if not layer.is_pre_dump else 0
    running = _running_tree(root) if root else ()
    with reading(layer):
        plan = make_plan(layer, request.shell_job, Meter("verify", listener, cancel, f"restore of {layer.path}"), running)
        if not running:
            return carry_out(plan, request, listener, cancel, started)
    _refuse_strangers(plan, running)
    cancel.check(f"restore of {layer.path}")
    rescue = None
    if request.rescue:
        rescue = _end_with_rescue(request, root, listener, cancel)
    else:
        _end(root)
    # Neither the program that ran is there now nor the one that is to run: half of this is worse than all of it.
    kept = f"; what ran is kept in {rescue}" if rescue else ""
    line = f"process {root} has ended: this goes on until it runs again, as of {layer.path}{kept}"
    with cancel.too_late(lambda: listener(Notice(line))):
        return _after_the_end(plan, rescue, request, listener, started)


def _after_the_end(plan: RestorePlan, rescue: Path | None, request: RestoreRequest, listener: Listener, started: int) -> RestoreResult:
    try:
        _wait_until_free(plan)
        with reading(plan.layer):
            _check_again(plan)
            result = carry_out(plan, request, listener, CancelToken(), started)
        return changed(result, rescue_dir=rescue)
    except LaminaError as error:
        if rescue is None:
            raise
        again = _restore_rescue(rescue, request, listener)
        obj = str(plan.layer.path)
        raise LaminaError("cannot restore", obj, str(error).removeprefix(f"cannot restore {obj}: "), again) from error


def _check_again(plan: RestorePlan) -> None:
    """While the rescue layer was written the stack was not locked for reading."""
    refuse_damaged(plan.layer)


def _restore_rescue(rescue: Path, request: RestoreRequest, listener: Listener) -> str:
    listener(Notice(f"restoring the rescue layer {rescue}"))
    again = changed(request, images_dir=rescue, replace=False)
    try:
        with held_layer(rescue, request.trust) as layer, reading(layer):
            plan = make_plan(layer, request.shell_job)
            carry_out(plan, again, listener, CancelToken(), time.monotonic_ns())
    except LaminaError as error:
        return f"the program has ended; its last state is in {rescue}, which could not be restored either: {error}"
    return f"the program runs on as before, restored from the rescue layer {rescue}"


# -- before --------------------------------------------------------------------------------------------------------------------------


def _running_tree(root: int) -> tuple[int, ...]:
    try:
        if read_stat(root).state == "Z":
            return ()
        return tuple(tree_of(root))
    except TargetError:
        return ()


def _refuse_strangers(plan: RestorePlan, running: tuple[int, ...]) -> None:
    root = running[0]
    blockers = []
    reason = protected(root)
    if reason:
        blockers.append(Blocker(describe(root), f"lamina does not end it: {reason}"))
    elif not _is_same_program(plan, root):
        blockers.append(Blocker(describe(root), "it has this pid and is another program", "end it yourself, if you mean it"))
    parent = read_stat(root).ppid
    if not _reaps(parent):
        why = f"its parent {describe(parent)} does not seem to wait for it, so that its pid would stay taken"
        blockers.append(Blocker(describe(root), why, "end it, let its parent see that, and restore without --replace"))
    if blockers:
        raise RefusedError("cannot replace", str(plan.layer.path), blockers=tuple(blockers))


def _is_same_program(plan: RestorePlan, root: int) -> bool:
    """Known by its identity or by what lamina remembers of it; else it must at least look the same."""
    identity = identify(root)
    sidecar = plan.layer.sidecar
    if sidecar and Identity(sidecar.pid, sidecar.start_time, sidecar.boot) == identity:
        return True
    with suppress(TargetError):
        if states.load(identity):
            return os.readlink(f"/proc/{root}/exe") == plan.root.executable
    same_file = os.readlink(f"/proc/{root}/exe") == plan.root.executable
    return same_file and (sidecar is None or list(sidecar.cmdline) == read_cmdline(root))


def _reaps(parent: int) -> bool:
    """Whether a parent shows that it will reap a child that ends: it is we or init, it handles or ignores SIGCHLD, or it waits just now."""
    if parent in {1, os.getpid()}:
        return True
    try:
        status = read_status(parent)
        if any(int(status[key], 16) & _SIGCHLD_BIT for key in ("SigCgt", "SigIgn", "SigBlk")):
            return True
        for tid in threads_of(parent):
            call = Path(f"/proc/{parent}/task/{tid}/syscall").read_text().split()
            if call and call[0] in _WAITING_CALLS:
                return True
    except (TargetError, OSError):
        return False
    return False


# -- the end of what runs ------------------------------------------------------------------------------------------------------------


def _end_with_rescue(request: RestoreRequest, root: int, listener: Listener, cancel: CancelToken) -> Path:
    """One dump that is the rescue layer and ends the tree once it is committed."""
    directory = _new_directory(request.images_dir.resolve().parent, root)
    listener(Notice(f"what runs is kept in {directory}"))
    try:
        dump(
            DumpRequest(
                pid=root, images_dir=directory, prev_images_dir=_parent_of(root, directory), shell_job=request.shell_job,
                label=f"rescue before {request.images_dir.name}",
            ),
            listener,
            cancel,
        )  # fmt: skip
    except LaminaError as error:
        with suppress(OSError):
            directory.rmdir()
        fix = error.fix or "--no-rescue ends it without a rescue layer"
        raise RefusedError("cannot replace", describe(root), f"no rescue layer can be made, so it runs on: {error}", fix) from error
    _reap(root)
    return directory


def _new_directory(stack: Path, root: int) -> Path:
    for number in range(1, 1_000_000):
        directory = stack / f"rescue-{root}-{number}"
        try:
            directory.mkdir(mode=0o700)
            return directory
        except FileExistsError:
            continue
        except OSError as error:
            raise LaminaError("cannot make a rescue layer in", str(stack), os.strerror(error.errno or 0), "or use --no-rescue") from error
    raise LaminaError("cannot make a rescue layer in", str(stack), "it holds a million of them")


def _parent_of(root: int, directory: Path) -> str | None:
    """The layer that the running program stands on, if it is still there: then the rescue layer holds only what changed since."""
    with suppress(LaminaError, OSError):
        state = states.load(identify(root))
        if state and state.settled and state.layer_dir:
            sidecar = Layer(Path(state.layer_dir)).sidecar
            if sidecar and sidecar.layer_id == state.layer_id:
                return os.path.relpath(state.layer_dir, directory)
    return None


def _end(root: int) -> None:
    def kill() -> None:
        with FrozenTree(root) as tree:
            tree.kill()

    identity = identify(root)
    with states.lock_target(identity):
        tracer().call(kill)
    _reap(root)
    states.forget(identity)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _wait_until_free(plan: RestorePlan) -> None:
    blockers = machine.wait_until_reaped(plan.ids, patience_s=_REAP_S)
    if blockers:
        raise RefusedError("cannot restore", str(plan.layer.path), blockers=tuple(blockers))
