"""The command lines of operations on layers do the same: the command line's own parser reads them back."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from lamina.core import cli
from lamina.tui.operations import layer_command_lines as commands

S = Path("/my shots")
LINES: list[tuple[str, dict[str, Any]]] = [
    (commands.verify_line(S / "3"), {"verb": "verify", "layer": "/my shots/3"}),
    (commands.label_line(S / "3", "-after import"), {"verb": "label", "text": "-after import"}),
    (commands.pin_line(S / "3", ""), {"verb": "pin", "reason": ""}),
    (commands.pin_line(S / "3", "--keep"), {"verb": "pin", "reason": "--keep"}),
    (commands.unpin_line(S / "3"), {"verb": "unpin"}),
    (commands.drop_line(S / "3", dry_run=True), {"verb": "drop", "layers": ["/my shots/3"], "dry_run": True}),
    (commands.undo_line(S, ""), {"verb": "undo", "layer": "/my shots"}),
    (commands.undo_line(S, "3~1"), {"verb": "undo", "layer": "/my shots/3~1"}),
    (commands.empty_line(S), {"verb": "trash", "dir": S, "empty": ""}),
    (commands.empty_line(S, "3", dry_run=True), {"verb": "trash", "dir": S, "empty": "3", "dry_run": True}),
    (commands.squash_line(S / "1", S / "4"), {"verb": "squash", "layers": "/my shots/1..4"}),
    (commands.lossless_line(S), {"verb": "dedup", "lossless": True, "layer": "/my shots"}),
    (commands.prune_line(S, ("3", "1h", "")), {"verb": "prune", "keep_last": 3, "keep_every": 3600, "max_bytes": None}),
    (commands.relink_line(S / "3", S / "2"), {"verb": "relink", "to": S / "2", "search": []}),
    (commands.relink_line(S / "3", None, [S], dry_run=True), {"to": None, "search": [S], "dry_run": True}),
    (commands.export_line(S / "3", Path("x.tar.zst"), "flat"), {"verb": "export", "flat": True, "alone": False}),
    (commands.import_line(Path("x.tar.zst"), S, "theirs", trust=True), {"verb": "import", "dir": S, "trust": True, "name": "theirs"}),
    (commands.compress_line("expand", S / "3"), {"verb": "expand", "layer": "/my shots/3", "dry_run": False}),
]


@pytest.mark.parametrize(("line", "wanted"), LINES)
def test_a_line_is_read_back(line: str, wanted: dict[str, Any]) -> None:
    words = shlex.split(line)
    assert words[0] == "lamina"
    args = vars(cli.parse(words[1:]))
    assert {name: args[name] for name in wanted} == wanted
