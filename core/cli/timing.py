"""every: a layer every so often."""

import argparse
from dataclasses import fields

from lamina.core.cli.dumping import cost
from lamina.core.cli.output import Output
from lamina.core.errors import UsageError
from lamina.core.events import CancelToken


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
