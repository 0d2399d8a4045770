"""What a user can have the engine do, one function for each operation."""

from lamina.tui.operations.checkpoints import dump as dump
from lamina.tui.operations.checkpoints import restore as restore
from lamina.tui.operations.checkpoints import track as track
from lamina.tui.operations.checkpoints import untrack as untrack
from lamina.tui.operations.core_file import core as core
from lamina.tui.operations.in_terminal import put_back as put_back
from lamina.tui.operations.in_terminal import run as run
from lamina.tui.operations.keep_newest import thin as thin
