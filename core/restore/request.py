"""What a restore is asked for and what it answers."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RestoreRequest:
    """One `lamina restore`.

    Attributes:
        images_dir: the layer.
        detach: leave the restored tree to init and return; otherwise lamina stays its parent (the caller waits).
        pidfile: where to write the root's pid, or None.
        replace: end the running tree of the same pids first (DESIGN: verify, plan, rescue layer, end, restore).
        rescue: with `replace`, dump a rescue layer first.
        shell_job: give the tree our session, process group and terminal.
        trust: accept images owned by another user.
        arm: start tracking on the restored layer, so that the next dump is an increment of it.
    """

    images_dir: Path
    detach: bool = False
    pidfile: Path | None = None
    replace: bool = False
    rescue: bool = True
    shell_job: bool = False
    trust: bool = False
    arm: bool = True


@dataclass(frozen=True)
class RestoreResult:
    """A running tree.

    Attributes:
        pid: its root; pids: all of it, parents first.
        pages: pages filled; elapsed_us: the whole restore, µs.
        rescue_dir: the rescue layer made by `replace`, or None.
        notices: sentences the user should read.
    """

    pid: int
    pids: tuple[int, ...]
    pages: int
    elapsed_us: int
    rescue_dir: Path | None = None
    notices: tuple[str, ...] = ()
