"""What a user can make the engine do, one function per act."""

from lamina.tui.acts.act import Act as Act
from lamina.tui.acts.holding import put_back as put_back
from lamina.tui.acts.holding import run as run
from lamina.tui.acts.looking import core as core
from lamina.tui.acts.running import dump as dump
from lamina.tui.acts.running import restore as restore
from lamina.tui.acts.running import track as track
from lamina.tui.acts.running import untrack as untrack
from lamina.tui.acts.timing import thin as thin
