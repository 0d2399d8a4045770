"""Operations on a running program: track it, take layers of it, put it back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.dump.next_layer import drop_if_empty, make_layer_dir, request_for
from lamina.core.dump.request import DumpResult
from lamina.core.restore.request import RestoreRequest, RestoreResult
from lamina.tui.model import units
from lamina.tui.model.operation import Operation, Work
from lamina.tui.model.target import look_up
from lamina.tui.operations import command_lines
from lamina.tui.read.examining import needs_shell_job

if TYPE_CHECKING:
    from lamina.core.dump.request import Companion


def track(pid: int, name: str) -> Operation:
    """Start to notice which pages *pid* and its children write."""

    def run(work: Work) -> None:
        from lamina.core.dump.tracking import track as arm

        work.announce(command_lines.track_line(pid))
        arm(pid, work.listen)

    return Operation("track", f"track {name} {pid}", run, lambda _: "tracking is on", pid)


def untrack(pid: int, name: str) -> Operation:
    """End tracking, which leaves mappings and descriptors as they were before it."""

    def run(work: Work) -> None:
        from lamina.core.dump.tracking import untrack as disarm

        work.announce(command_lines.untrack_line(pid))
        disarm(pid)

    return Operation("untrack", f"untrack {name} {pid}", run, lambda _: "tracking has ended", pid)


def dump(pid: int, name: str, stack: Path | None, final: bool = False, companion: "Companion | None" = None) -> Operation:
    """Take the next layer of *pid*: full, or only what has changed since its last layer.

    Args:
        stack: where layers go if the process has none yet; None for the default stack.
        final: end the program once the layer is committed.
        companion: puts the screen of its terminal into the layer, if the terminal is ours.
    """

    def run(work: Work) -> DumpResult:
        from lamina.core.dump.session import dump as dump_tree

        place = look_up(pid, stack)
        layer = make_layer_dir(place.stack)
        try:
            request = request_for(pid, layer, place.layer, needs_shell_job(pid), final)
            request = replace(request, companion=companion)
            work.announce(command_lines.dump_line(request))
            return dump_tree(request, work.listen, work.cancel)
        except BaseException:
            drop_if_empty(layer)
            raise

    kind, verb = ("final", "final dump") if final else ("dump", "dump")
    return Operation(kind, f"{verb} of {name} {pid}", run, _dump_summary, pid)


def restore(request: RestoreRequest, pid: int, name: str) -> Operation:
    """Restore the layer, in which the program is called *name* and was *pid*."""
    layer = request.images_dir

    def run(work: Work) -> RestoreResult:
        from lamina.core.restore.run import restore as restore_tree

        work.announce(command_lines.restore_line(request))
        return restore_tree(request, work.listen, work.cancel)

    return Operation("restore", f"restore layer {layer.name} of {name} {pid}", run, _restore_summary(layer.name), pid)


def _dump_summary(result: DumpResult) -> str:
    stats = result.stats
    return f"layer {result.images_dir.name}: {units.pages(stats.pages_written)} pages, frozen {units.duration(stats.stood_still)}"


def _restore_summary(name: str) -> Callable[[RestoreResult], str]:
    return lambda result: f"{result.pid} is back at layer {name}, in {units.duration(result.elapsed_us)}"
