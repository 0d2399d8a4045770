"""Carries out a plan: the open files, the rebuilding, and what is to be done around it."""

import os
import time
from pathlib import Path

from lamina.core.attach.tracer import tracer
from lamina.core.errors import LaminaError
from lamina.core.events import CancelToken, Listener, Notice, Progress
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.opening import OpenOptions, open_descriptions
from lamina.core.restore import fill
from lamina.core.restore.foreground import keep_terminal, take_terminal
from lamina.core.restore.plan import RestorePlan
from lamina.core.restore.rebuild import Rebuilt, Wishes, rebuild
from lamina.core.restore.request import RestoreRequest, RestoreResult

_EVENTS_PER_SECOND = 50


def carry_out(plan: RestorePlan, request: RestoreRequest, listener: Listener, cancel: CancelToken, started: int) -> RestoreResult:
    """Rebuild what was planned, in a `reading` block. *started*: CLOCK_MONOTONIC of the begin, ns."""
    meter = Meter(plan, listener, cancel, started)
    with open_descriptions(plan.layer, DESCRIPTORS, OpenOptions(shell_job=request.shell_job)) as descriptions:
        cancel.check(f"restore of {plan.layer.path}")
        wishes = Wishes(
            orphan=request.detach, arm=request.arm, terminal=request.shell_job and not request.detach and keep_terminal(plan.root.pid),
            filled=meter.filled, ready=lambda: _write_pidfile(request, plan), cancel=cancel,
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


class Meter:
    """Tells how far the pages are, not too often, and looks whether to stop."""

    def __init__(self, plan: RestorePlan, listener: Listener, cancel: CancelToken, started: int) -> None:
        self._total = sum(fill.pages_to_fill(task).pages for task in plan.living)
        self._total += sum(shared.owners.runs.pages for shared in plan.objects.values())
        self._what = f"restore of {plan.layer.path}"
        self._listener, self._cancel, self._started = listener, cancel, started
        self._done = 0
        self._told = 0

    def filled(self, pages: int) -> None:
        """Called for every portion of pages.

        Raises:
            Cancelled: as asked.
        """
        self._cancel.check(self._what)
        self._done += pages
        now = time.monotonic_ns()
        if now - self._told >= 1_000_000_000 // _EVENTS_PER_SECOND or self._done >= self._total:
            self._told = now
            self._listener(Progress("fill", self._done, self._total, self._done * 4096, (now - self._started) // 1000))


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
