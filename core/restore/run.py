"""`lamina restore` as a function: plan and carry out, or replace a running tree."""

import time

from lamina.core.events import CancelToken, Listener, Progress, ignore
from lamina.core.image.trust import held_layer
from lamina.core.restore.carry_out import carry_out
from lamina.core.restore.foreground import wait_as_foreground_job
from lamina.core.restore.plan import make_plan
from lamina.core.restore.reading import reading
from lamina.core.restore.replace import replace
from lamina.core.restore.request import RestoreRequest, RestoreResult

__all__ = ["restore", "wait_as_foreground_job"]


def restore(request: RestoreRequest, listener: Listener = ignore, cancel: CancelToken | None = None) -> RestoreResult:
    """Bring the tree of a layer back to life, with its pids.

    With `request.detach` it becomes a child of init; otherwise of this process, which must reap it (`wait_as_foreground_job`).

    Raises:
        RefusedError: with every reason, before anything was touched.
        ImageError: the layer cannot be read.
        Cancelled: as asked.
        LaminaError: a step failed. In all cases nothing is left of the tree.
    """
    cancel = cancel or CancelToken()
    if request.replace:
        return replace(request, listener, cancel)
    started = time.monotonic_ns()
    listener(Progress("plan"))
    with held_layer(request.images_dir, request.trust) as layer, reading(layer):
        plan = make_plan(layer, request.shell_job)
        return carry_out(plan, request, listener, cancel, started)
