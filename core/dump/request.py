"""What a dump is asked for and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lamina.core.dump.destination import Destination


class Companion(Protocol):
    """Keeps something that belongs to a target and is not in it, as of the freeze: the screen of its terminal.

    What it raises is told as a notice and keeps no layer from being made.
    """

    def frozen(self) -> None:
        """The target stands still from here on, and waits: be quick. Called on the tracer's thread."""

    def files(self) -> Mapping[str, bytes]:
        """Files that are committed with the layer, by name; called once the memory is written."""


@dataclass(frozen=True)
class DumpRequest:
    """One `lamina dump` (or `pre-dump`).

    Attributes:
        pid: root of the tree.
        images_dir: an existing directory that holds no layer yet; becomes the layer.
        prev_images_dir: the parent, relative to `images_dir`, as typed; None for a full dump.
        leave_running: the target goes on after the dump; otherwise it is ended once the layer is committed.
        track_mem: tracking is (kept) armed after the dump, so that the next one can be incremental.
        shell_job: the tree belongs to a session or terminal outside it, which restore will replace by its own.
        memory_only: a pre-dump: pages only, never restorable.
        auto_dedup: punch the ancestors' copies of what this layer writes, after the commit.
        label: a name for people, or "".
        paranoid: compare all memory inside the freeze with what the layer would hold, and write what differs: slow.
        companion: what is kept beside the target, or None.
        destination: where the pages go; None for pages files in the layer.
    """

    pid: int
    images_dir: Path
    prev_images_dir: str | None = None
    leave_running: bool = False
    track_mem: bool = False
    shell_job: bool = False
    memory_only: bool = False
    auto_dedup: bool = False
    label: str = ""
    paranoid: bool = False
    companion: Companion | None = None
    destination: "Destination | None" = None


@dataclass(frozen=True)
class DumpStats:
    """CRIU's statistics (images/stats.proto). Times in µs, counts in pages."""

    freezing_time: int = 0
    frozen_time: int = 0
    memdump_time: int = 0
    memwrite_time: int = 0
    pages_scanned: int = 0
    pages_skipped_parent: int = 0
    pages_written: int = 0

    @property
    def stood_still(self) -> int:
        """How long the target did not run, µs: from the first thread that was stopped until all went on."""
        return self.freezing_time + self.frozen_time


@dataclass(frozen=True)
class DumpResult:
    """A committed layer.

    Attributes:
        images_dir: the layer.
        layer_id: its id in the sidecar.
        stats: what it cost.
        pids: the dumped tree, parents first.
        tracker: the tracker used ("uffd-wp async", "none").
        notices: sentences the user should read, as in why nothing could be inherited.
        elapsed_us: the whole dump, µs.
        live_rounds: rounds of live pre-copy before the freeze.
        sent_to: the page server that has the pages, or "".
    """

    images_dir: Path
    layer_id: str
    stats: DumpStats
    pids: tuple[int, ...]
    tracker: str
    notices: tuple[str, ...] = ()
    elapsed_us: int = 0
    live_rounds: int = 0
    sent_to: str = ""
