"""The recipe of a restore: what is done in which order, and why in that order (docs/restore.md). On the tracer thread only.

Every step leaves a tree that dies with us, until the last one, the switch.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lamina.core.attach.calls import CallList
from lamina.core.events import CancelToken
from lamina.core.objects.opening import Descriptions
from lamina.core.objects.task_kind import Stage
from lamina.core.restore import fill, memory, threads, tracking
from lamina.core.restore.family import Family
from lamina.core.restore.foreground import give_terminal
from lamina.core.restore.plan import RestorePlan, TaskPlan
from lamina.core.restore.process import Rebuilding
from lamina.core.restore.shared_memory import SharedObjects
from lamina.core.restore.stages import load_registers, put_back, put_back_threads, write

Pairs = list[tuple[Rebuilding, TaskPlan]]


@dataclass(frozen=True)
class Rebuilt:
    """A tree that runs: pages filled, and what the user should know."""

    pages: int
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Wishes:
    """How it is to be rebuilt.

    Attributes:
        orphan: the root is no child of ours but of init.
        arm: go on tracking.
        terminal: set our terminal as the tree had set its own.
        filled: told of every portion of pages.
        ready: called when all is in place, before the tree runs; what it raises ends the tree.
        cancel: looked at until then.
    """

    orphan: bool
    arm: bool
    terminal: bool
    filled: Callable[[int], None]
    ready: Callable[[], None]
    cancel: CancelToken


def rebuild(plan: RestorePlan, descriptions: Descriptions, wishes: Wishes) -> Rebuilt:
    """Make the tree of *plan* and let it run. *descriptions*: its open files, each opened once, here.

    Raises:
        LaminaError: a step failed; nothing is left of the tree.
        Cancelled: as asked; likewise.
    """
    pages = 0
    notices: list[str] = []
    with SharedObjects(plan.objects) as shared, Family(plan, wishes.orphan) as family:
        pages += shared.make(wishes.filled)
        # Parents before memory: a process without memory is cheap to copy.
        family.make()
        notices += family.notices
        pairs = [(family.processes[task.pid], task) for task in plan.living]
        for process, task in pairs:
            notices += memory.replace_areas(process, task, shared.with_paths(task.areas))
        for process, task in pairs:
            # Nothing of the program runs while its pages come: its other threads do not exist yet.
            pages += fill.fill(process.pid, task, wishes.filled)
        for process, task in pairs:
            memory.protect_areas(process, task)
            notices += put_back(process, task.record, Stage.MEMORY)
        notices += _put_back_descriptors(pairs, descriptions)
        for process, task in pairs:
            notices += put_back(process, task.record, Stage.PROCESS)
            # Its zombies have left signals that it would not have got again.
            notices += put_back(process, task.record, Stage.ACTIONS, before=_drain)
        for process, task in pairs:
            # Timers and signals name threads, so all threads first.
            threads.make_threads(process, plan, task)
            notices += put_back_threads(process, task.record, Stage.THREAD)
            notices += put_back_threads(process, task.record, Stage.SETTINGS)
            notices += put_back(process, task.record, Stage.CLOCKS)
            notices += put_back_threads(process, task.record, Stage.CREDENTIALS)
            notices += put_back(process, task.record, Stage.LAST)
            calls = CallList()
            descriptions.finish(task.pid, calls)
            process.run(calls)
            notices += write(task.record, Stage.OUTSIDE)
        descriptions.finish_held()
        for process, _ in pairs:
            # After all writing from outside, which would count as changes.
            notices += filter(None, [tracking.stand_on(process, plan.layer, wishes.arm)])
        tracking.remember_shared_memory(plan)
        for process, task in pairs:
            process.drop_scratch()
            load_registers(process, task.record)
        for _, task in pairs:
            # Nothing is left to be done inside, which a group may keep from running.
            notices += write(task.record, Stage.BEFORE_SWITCH)
        wishes.cancel.check(f"restore of {plan.layer.path}")
        wishes.ready()
        if wishes.terminal:
            descriptions.before_run({entry.pgid for entry in plan.layer.pstree})
            give_terminal(plan.root.pid)
        # No reader of a pipe would ever see its end while we hold the writing end.
        descriptions.close_all()
        threads.let_go([process for process, _ in pairs])
    return Rebuilt(pages, tuple(notices))


def _put_back_descriptors(pairs: Pairs, descriptions: Descriptions) -> list[str]:
    """Into empty tables: the files of areas are closed by now. In all tasks, before what one of them takes from another."""
    notices = descriptions.remake({task.pid: process.run for process, task in pairs})
    for append in (descriptions.install, descriptions.share):
        for process, task in pairs:
            calls = CallList()
            append(task.pid, calls)
            process.run(calls)
    return notices


def _drain(calls: CallList) -> None:
    everything, at_once = calls.data(b"\xff" * 8), calls.data(bytes(16))
    for _ in range(4):
        calls.add("rt_sigtimedwait", everything, 0, at_once, 8, any_result=True)
