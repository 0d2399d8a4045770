"""The operation that keeps only the newest timed layers."""

from collections.abc import Sequence
from pathlib import Path

from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import command_lines


def thin(name: str, taken: Sequence[Path], keep_last: int) -> Operation:
    """Remove for good all but the newest *keep_last* of the layers *taken* of *name*, oldest first; pinned and labelled ones stay."""

    def run(work: Work) -> tuple[Path, ...]:
        from lamina.core.dump.timed import thin as remove

        work.announce(command_lines.thin_line(taken[:-keep_last]))
        return remove(list(taken), keep_last, work.listen)

    def summary(removed: Sequence[Path]) -> str:
        return f"removed {', '.join(path.name for path in removed)}" if removed else "nothing could go"

    return Operation("thin", f"remove older timed layers of {name}", run, summary)
