"""dump, pre-dump, every, track, untrack."""

import argparse
from dataclasses import fields

from lamina.core.cli.output import Output, duration, pages
from lamina.core.dump.request import DumpRequest, DumpResult
from lamina.core.errors import UsageError
from lamina.core.events import CancelToken


def dump(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina dump -t PID -D DIR …`."""
    if args.track_mem and not args.leave_running:
        output.note("--track-mem has no effect: without --leave-running the tree ends with this dump")
        args.track_mem = False
    return _dump(_request(args, output, leave_running=args.leave_running), output, cancel)


def pre_dump(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina pre-dump -t PID -D DIR …`: pages only, and always with tracking, or it would be no one's parent."""
    return _dump(_request(args, output, leave_running=True, memory_only=True), output, cancel)


def _request(args: argparse.Namespace, output: Output, leave_running: bool, memory_only: bool = False) -> DumpRequest:
    destination = None
    if args.page_server or args.address is not None or args.port is not None or args.tls:
        from lamina.core.cli.transferring import destination_of

        destination = destination_of(args, output)
    return DumpRequest(
        pid=args.tree,
        images_dir=args.images_dir,
        prev_images_dir=args.prev_images_dir,
        leave_running=leave_running,
        track_mem=args.track_mem or memory_only,
        shell_job=args.shell_job,
        memory_only=memory_only,
        auto_dedup=args.auto_dedup,
        label=args.label,
        paranoid=args.paranoid,
        destination=destination,
    )


def _dump(request: DumpRequest, output: Output, cancel: CancelToken) -> int:
    from lamina.core.dump.session import dump as dump_tree

    result = dump_tree(request, output.listen, cancel)
    output.result(result, _summary(request, result))
    return 0


def _summary(request: DumpRequest, result: DumpResult) -> str:
    count = len(result.pids)
    inherited = f", {result.stats.pages_skipped_parent:,} inherited" if request.prev_images_dir is not None else ""
    what = "memory of " if request.memory_only else ""
    ended = "" if request.leave_running else ", which has ended"
    tree = f"process {request.pid}" if count == 1 else f"{count} processes from {request.pid} on"
    sent = f", pages sent to {result.sent_to}" if result.sent_to else ""
    return f"{result.images_dir}: {what}{tree}{ended}: {cost(result, inherited)}{sent}"


def cost(result: DumpResult, inherited: str) -> str:
    """What a layer cost: "812 pages (3.2 MiB) written, 54,514 inherited, frozen 3.8 ms, …"; *inherited* with its comma, or ""."""
    stats = result.stats
    times = f"frozen {duration(stats.stood_still)}, took {duration(result.elapsed_us)}"
    return f"{pages(stats.pages_written)} written{inherited}, {times}, tracker: {result.tracker}"


def track(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina track -t PID`."""
    from lamina.core.dump.tracking import track as start

    start(args.tree, output.listen)
    output.result({"pid": args.tree, "tracked": True}, f"process {args.tree} is tracked; `lamina untrack -t {args.tree}` ends it")
    return 0


def untrack(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina untrack -t PID`."""
    from lamina.core.dump.tracking import untrack as end

    was = end(args.tree, args.force)
    said = "is no longer tracked; its next dump is a full one" if was else "was not tracked"
    output.result({"pid": args.tree, "tracked": False, "was_tracked": was}, f"process {args.tree} {said}")
    return 0


def every(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina every 30s -t PID -D STACK [--dirtied 64M]`: one answer a layer. Asked to stop, it finishes the layer under way."""
    from lamina.core.dump.rhythm import Rhythm
    from lamina.core.dump.timed import TimedRequest, take_layers

    if args.interval is None and args.dirtied is None:
        raise UsageError("every", "", "how often?", "give a time such as 30s, or --dirtied such as 64M, or both")
    for name in ("dirtied", "count", "keep_last"):
        if getattr(args, name) == 0:
            raise UsageError("every", "", f"--{name.replace('_', '-')} 0 means nothing", "give 1 or more")
    rhythm = Rhythm(args.interval, args.dirtied, args.keep_last)
    request = TimedRequest(args.tree, args.images_dir, rhythm, args.count, args.shell_job)
    for layer in take_layers(request, output.listen, cancel):
        result = layer.result
        inherited = f", {result.stats.pages_skipped_parent:,} inherited" if result.stats.pages_skipped_parent else ""
        removed = f"; removed {', '.join(path.name for path in layer.removed)}" if layer.removed else ""
        value = {field.name: getattr(result, field.name) for field in fields(result)}
        output.result(
            value | {"why": layer.why, "removed": layer.removed},
            f"{result.images_dir}: {layer.why}: {cost(result, inherited)}{removed}",
        )
    return 0
