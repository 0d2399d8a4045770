"""Every message from a worker thread to the screen, named for what has happened. This file is the map of the TUI."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message

from lamina.core.events import Progress
from lamina.tui.model.operation import Operation

if TYPE_CHECKING:
    from lamina.core.attach.identity import Identity
    from lamina.tui.model.both_pages import BothPages
    from lamina.tui.model.compared import Compared
    from lamina.tui.model.difference import DiffView
    from lamina.tui.model.dirty_pages import Dirty
    from lamina.tui.model.examined import Examined
    from lamina.tui.model.layer_status import LayerStatus
    from lamina.tui.model.layers import StackView
    from lamina.tui.model.processes import Processes
    from lamina.tui.model.target import Target
    from lamina.tui.read.contents import Branch, Contents
    from lamina.tui.read.layer_memory import LayerMemory
    from lamina.tui.read.page_bytes import ByteWindow, MemorySource, SourceAreas
    from lamina.tui.read.searching import Search
    from lamina.tui.read.stacks import KnownStack
    from lamina.tui.read.target_memory import TargetMemory
    from lamina.tui.read.target_parts import TargetParts
    from lamina.tui.read.timed_run import TimedRun
    from lamina.tui.terminal.holders import HeldTerminal
    from lamina.tui.terminal.leader import Held


@dataclass
class ProcessesRead(Message):
    """The process table was read."""

    table: "Processes"


@dataclass
class ProcessesExamined(Message):
    """Some processes were examined for what prevents dumping them."""

    found: "Sequence[Examined]"


@dataclass
class LayerStatusRead(Message):
    """It was read how much the tracked processes write, and how many layers processes have."""

    layer_status: "dict[int, LayerStatus]"


@dataclass
class TargetFound(Message):
    """The target was read; *aimed*: because the user has chosen it, else as it is read regularly."""

    target: "Target"
    aimed: bool = False


@dataclass
class DirtyRead(Message):
    """It was counted how much the target has written since its last layer."""

    dirty: "Dirty"


@dataclass
class TargetMemoryRead(Message):
    """The memory of the target was read."""

    memory: "TargetMemory"


@dataclass
class TargetPartsRead(Message):
    """The threads and descriptors of the target were read."""

    parts: "TargetParts"


@dataclass
class HindranceRead(Message):
    """It is known what prevents a dump of the target; *text* is "" if nothing does."""

    identity: "Identity"
    text: str


@dataclass
class StackRead(Message):
    """The layers of a stack were read."""

    stack: "StackView"


@dataclass
class StacksFound(Message):
    """The stacks under the state directory were listed."""

    stacks: "Sequence[KnownStack]"


@dataclass
class LayerMemoryRead(Message):
    """The memory of one layer was resolved to the layers that own it."""

    memory: "LayerMemory"


@dataclass
class LayerMemoryLost(Message):
    """The memory of a layer cannot be resolved; *why* in the engine's words."""

    layer: Path
    why: str


@dataclass
class ContentsRead(Message):
    """The contents of a layer were listed."""

    contents: "Contents"


@dataclass
class FieldsRead(Message):
    """One image of a layer was decoded."""

    layer: Path
    file: str
    branches: "tuple[Branch, ...]"


@dataclass
class AreasRead(Message):
    """The areas of a memory were read."""

    areas: "SourceAreas"


@dataclass
class WindowsRead(Message):
    """Some bytes of memory were read, for the lines from *first* on."""

    source: "MemorySource"
    first: int
    windows: "tuple[ByteWindow, ...]"


@dataclass
class SearchWentOn(Message):
    """A search in memory goes on; only the newest counts."""

    progress: Progress

    def can_replace(self, message: Message) -> bool:
        """A newer report makes an older one pointless."""
        return isinstance(message, SearchWentOn)


@dataclass
class SearchDone(Message):
    """A search in memory came to its end."""

    found: "Search"


@dataclass
class DiffRead(Message):
    """Two sides were compared, by map or by content."""

    view: "DiffView"


@dataclass
class DiffWentOn(Message):
    """Pages are being compared; only the newest report counts."""

    what: "Compared"
    progress: Progress

    def can_replace(self, message: Message) -> bool:
        """A newer report makes an older one pointless."""
        return isinstance(message, DiffWentOn)


@dataclass
class BothPagesRead(Message):
    """One page was read on both sides of a difference."""

    pages: "BothPages"


@dataclass
class TimedRead(Message):
    """A program with timed layers was read: how many bytes it has written since the last one, or why there can be no more."""

    run: "TimedRun"
    dirty: int | None
    ended: str = ""


@dataclass
class ReadFailed(Message):
    """Something could not be read; *about* says what."""

    about: str
    text: str


@dataclass
class ProgramHeld(Message):
    """A program runs in a terminal of ours; *rescue* is the layer made of the program that ran there before, which gets its last screen."""

    held: "Held"
    rescue: Path | None = None


@dataclass
class TerminalsRead(Message):
    """The terminals that are held were listed, whoever shows them."""

    found: "Sequence[HeldTerminal]"


@dataclass
class TerminalFound(Message):
    """A terminal that was held is shown here now; *wanted*: because the user asked for it."""

    held: "Held"
    wanted: bool


@dataclass
class ViewSaved(Message):
    """What a pane shows was written to a file, or could not be; *text* says it."""

    text: str
    failed: bool = False


@dataclass
class LinesRemembered(Message):
    """What was typed after `:` in earlier laminas, oldest first."""

    lines: tuple[str, ...]


@dataclass
class SettingsReady(Message):
    """The user's file of settings can be opened; *why* says why not."""

    file: Path
    why: str = ""


@dataclass
class ExecutableFound(Message):
    """It is known which program the core file at *core* is of; "" if that file is gone."""

    core: Path
    executable: str


@dataclass
class OperationStarted(Message):
    """The engine began to work; *command* is the line that does the same."""

    operation: Operation
    command: str


@dataclass
class ProgressMade(Message):
    """Work went on. Within a phase a newer message replaces one that still waits, so that a slow terminal never falls behind."""

    operation: Operation
    progress: Progress
    phase_us: int = 0

    def can_replace(self, message: Message) -> bool:
        """A newer report of the same phase makes an older one pointless."""
        return isinstance(message, ProgressMade) and message.progress.phase == self.progress.phase


@dataclass
class NoticeGiven(Message):
    """The engine said a sentence the user should read."""

    operation: Operation
    text: str


@dataclass
class OperationFinished(Message):
    """Work was done; *summary* is one line for people, *result* what the engine answered."""

    operation: Operation
    result: Any
    summary: str
    notices: Sequence[str] = ()


@dataclass
class OperationFailed(Message):
    """Work failed or was refused, in the engine's own words."""

    operation: Operation
    text: str
    cancelled: bool = False
