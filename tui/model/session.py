"""What all screens show: the target, its stack, the options. One immutable value, replaced as a whole."""

from dataclasses import dataclass, field
from pathlib import Path

from lamina.tui.model.dirty_pages import Dirty
from lamina.tui.model.layers import StackView
from lamina.tui.model.settings import Settings
from lamina.tui.model.target import Target


@dataclass(frozen=True)
class Session:
    """The current state of the TUI.

    Attributes:
        stack_option: the directory given with `--stack`, or None.
        readonly: nothing may be changed.
        target: the process the user works on, or None.
        stack: the layers of its stack (or of `stack_option`) as last read, or None.
        opened: a stack chosen while there is no target.
        dirty: what the target has written since its last layer, if it is tracked.
        settings: what the user set.
    """

    stack_option: Path | None = None
    readonly: bool = False
    target: Target | None = None
    stack: StackView | None = None
    dirty: Dirty | None = None
    opened: Path | None = None
    settings: Settings = field(default_factory=Settings)

    @property
    def stack_dir(self) -> Path | None:
        """Where the next layer goes, and whose layers are shown."""
        return self.stack_option or (self.target.stack if self.target else self.opened)
