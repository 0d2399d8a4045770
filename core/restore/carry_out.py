"""Carries out a plan: the open files, the rebuilding, and what is to be done around it."""

import os
import time
from pathlib import Path

from lamina.core.attach.tracer import tracer
from lamina.core.dirty.runs import PAGE
from lamina.core.errors import LaminaError
from lamina.core.events import CancelToken, Listener, Meter, Notice
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.opening import OpenOptions, open_descriptions
from lamina.core.restore import fill
from lamina.core.restore.foreground import keep_terminal, take_terminal
from lamina.core.restore.plan import RestorePlan
from lamina.core.restore.rebuild import Rebuilt, Wishes, rebuild
from lamina.core.restore.request import RestoreRequest, RestoreResult


def carry_out(plan: RestorePlan, request: RestoreRequest, listener: Listener, cancel: CancelToken, started: int) -> RestoreResult:
    """Rebuild what was planned, in a `reading` block. *started*: CLOCK_MONOTONIC of the begin, ns."""
    total = sum(fill.pages_to_fill(task).pages for task in plan.living) * PAGE
    what = f"restore of {plan.layer.path}"
    meter = Meter("fill", listener, cancel, what, total, started)
    cancel.check(what)
    with open_descriptions(plan.layer, DESCRIPTORS, OpenOptions(shell_job=request.shell_job)) as descriptions:
        cancel.check(what)
        wishes = Wishes(
            orphan=request.detach, arm=request.arm, terminal=request.shell_job and not request.detach and keep_terminal(plan.root.pid),
            filled=lambda pages: meter.step(pages * PAGE), ready=lambda: _write_pidfile(request, plan), cancel=cancel,
        )  # fmt: skip
        try:
            rebuilt: Rebuilt = tracer().call(rebuild, plan, descriptions, wishes)
        except BaseException:
            if wishes.terminal:
                take_terminal()
            raise
    notices = (*plan.notices, *rebuilt.notices)
    for notice in notices:
        listener(Notice(notice))
    return RestoreResult(
        pid=plan.root.pid, pids=tuple(plan.tasks), pages=rebuilt.pages, elapsed_us=(time.monotonic_ns() - started) // 1000,
        notices=notices,
    )  # fmt: skip


def _write_pidfile(request: RestoreRequest, plan: RestorePlan) -> None:
    if request.pidfile is None:
        return
    draft = Path(f"{request.pidfile}.{os.getpid()}")
    try:
        draft.write_text(f"{plan.root.pid}\n")
        draft.replace(request.pidfile)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise LaminaError("cannot write", f"pidfile {request.pidfile}", os.strerror(error.errno or 0)) from error
