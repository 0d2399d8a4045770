"""restore: detached, or as a foreground job of the terminal."""

import argparse

from lamina.core.cli.output import Output, duration, pages
from lamina.core.errors import UsageError
from lamina.core.events import CancelToken
from lamina.core.restore.request import RestoreRequest


def restore(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina restore -D DIR …`. In the foreground the exit status is the program's."""
    from lamina.core.restore.run import restore as restore_tree

    if args.no_rescue and not args.replace:
        raise UsageError("nothing to do for --no-rescue", why="a rescue layer is made by --replace only")
    request = RestoreRequest(
        images_dir=args.images_dir,
        detach=args.restore_detached,
        pidfile=args.pidfile,
        replace=args.replace,
        rescue=not args.no_rescue,
        shell_job=args.shell_job,
        trust=args.trust,
    )
    result = restore_tree(request, output.listen, cancel)
    if not output.json and result.rescue_dir is not None:
        output.note(f"what ran before is in {result.rescue_dir}")
    if output.json or request.detach:
        count = "" if len(result.pids) == 1 else f" and {len(result.pids) - 1} below it"
        cost = f"{pages(result.pages)} in {duration(result.elapsed_us)}"
        output.result(result, f"process {result.pid}{count} restored from {request.images_dir}: {cost}")
    if request.detach:
        return 0
    from lamina.core.restore.run import wait_as_foreground_job

    return wait_as_foreground_job(result.pid)
