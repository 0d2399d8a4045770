"""What a user can make the engine do, one function per act: the request, the command line, what to say afterwards.

An act's `run` is called in a worker thread by the bridge. The engine is imported there, so that the first screen need not wait for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.dump.request import DumpRequest, DumpResult
from lamina.core.restore.request import RestoreRequest, RestoreResult
from lamina.tui import commands, places
from lamina.tui.model import units
from lamina.tui.model.target import Target, look_up
from lamina.tui.read.process import needs_shell_job

if TYPE_CHECKING:
    from lamina.tui.bridge import Work


@dataclass(frozen=True)
class Act:
    """One thing the engine is asked to do.

    Attributes:
        kind: "track", "untrack", "dump", "final", "restore", "plan", "dedup".
        title: for people, as in "dump of redis-server 4711".
        run: does it; called in a worker thread.
        summarise: the result in one line.
        pid: the process it is about; 0 if none.
    """

    kind: str
    title: str
    run: Callable[["Work"], Any]
    summarise: Callable[[Any], str]
    pid: int = 0


def track(pid: int, name: str) -> Act:
    """Start to notice which pages *pid* and its children write."""

    def run(work: "Work") -> None:
        from lamina.core.dump.tracking import track as arm

        work.announce(commands.track_line(pid))
        arm(pid, work.listen)

    return Act("track", f"track {name} {pid}", run, lambda _: "tracking is on", pid)


def untrack(pid: int, name: str) -> Act:
    """End tracking: mappings and descriptors are as before lamina came."""

    def run(work: "Work") -> None:
        from lamina.core.dump.tracking import untrack as disarm

        work.announce(commands.untrack_line(pid))
        disarm(pid)

    return Act("untrack", f"untrack {name} {pid}", run, lambda _: "tracking has ended", pid)


def dump(pid: int, name: str, stack: Path | None, final: bool = False) -> Act:
    """Take the next layer of *pid*: full, or only what changed since the layer it stands on.

    Args:
        stack: where layers go if the process stands on none; None for its default place.
        final: end the program once the layer is committed.
    """

    def run(work: "Work") -> DumpResult:
        from lamina.core.dump.session import dump as dump_tree

        place = look_up(pid, stack)
        layer = places.make_layer_dir(place.stack)
        try:
            request = _dump_request(place, layer, needs_shell_job(pid), final)
            work.announce(commands.dump_line(request))
            return dump_tree(request, work.listen, work.cancel)
        except BaseException:
            places.drop_if_empty(layer)
            raise

    kind, verb = ("final", "final dump") if final else ("dump", "dump")
    return Act(kind, f"{verb} of {name} {pid}", run, _dump_summary, pid)


def restore(request: RestoreRequest, pid: int, name: str) -> Act:
    """Put the program *name*, *pid* in the layer, back to that layer."""
    layer = request.images_dir

    def run(work: "Work") -> RestoreResult:
        from lamina.core.restore.run import restore as restore_tree

        work.announce(commands.restore_line(request))
        return restore_tree(request, work.listen, work.cancel)

    return Act("restore", f"restore layer {layer.name} of {name} {pid}", run, _restore_summary(layer.name), pid)


def plan_dedup(layer: Path) -> Act:
    """What dedup of *layer* would free and what it would cost; changes nothing."""

    def run(work: "Work") -> Any:
        from lamina.core.image.layer import Layer
        from lamina.core.image.shape.dedup import plan_dedup as plan

        work.announce(commands.dedup_line(layer, dry_run=True))
        return plan(Layer(layer))

    return Act("plan", f"dedup layer {layer.name}, dry run", run, lambda plan: f"would free {units.size(plan.bytes_freed)}")


def apply_dedup(layer: Path, plan: Any) -> Act:
    """Take out of the ancestors what *layer* itself holds, as planned."""

    def run(work: "Work") -> int:
        from lamina.core.image.shape.dedup import apply_dedup as apply

        work.announce(commands.dedup_line(layer))
        return apply(plan)

    return Act("dedup", f"dedup layer {layer.name}", run, lambda freed: f"freed {units.size(freed)}")


def core(layer: Path, pid: int) -> Act:
    """Write a core file of task *pid* of *layer*, beside the layer, for gdb."""
    output = layer.parent / f"core.{layer.name}.{pid}"

    def run(work: "Work") -> Any:
        from lamina.core.image.layer import Layer
        from lamina.core.inspect.corefile import write_core

        work.announce(commands.core_line(layer, pid, output))
        return write_core(Layer(layer), pid, output, work.listen, work.cancel)

    return Act("core", f"core file of {pid} in layer {layer.name}", run, lambda _: f"gdb -c {output}")


def _dump_request(place: Target, layer: Path, shell_job: bool, final: bool) -> DumpRequest:
    parent = place.layer
    inside = parent is not None and parent.parent.resolve() == layer.parent.resolve()
    return DumpRequest(
        pid=place.pid,
        images_dir=layer,
        prev_images_dir=places.relative_parent(layer, parent) if parent and inside else None,
        leave_running=not final,
        track_mem=not final,
        shell_job=shell_job,
    )


def _dump_summary(result: DumpResult) -> str:
    stats = result.stats
    return f"layer {result.images_dir.name}: {units.pages(stats.pages_written)} pages, frozen {units.duration(stats.frozen_time)}"


def _restore_summary(name: str) -> Callable[[RestoreResult], str]:
    return lambda result: f"{result.pid} is back at layer {name}, in {units.duration(result.elapsed_us)}"
