"""A path that is typed may be anything; it is answered in words, and never ends lamina."""

from pathlib import Path

import pytest

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.keys.jumps import Unclear, completions, go
from lamina.tui.model.session import Session
from lamina.tui.model.view import View, why_not
from lamina.tui.paths import is_there, typed_path
from lamina.tui.read.stacks import holds_layers, stack_at

ODD = ["~nobody-is-called-so/x", "a" * 300, "a" * 5000, "/proc/self/mem/x", "with\0nul", "~nobody-is-called-so"]


def test_it_is_a_path_or_it_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typed_path(" ~/x ") == tmp_path / "x" and is_there(typed_path("~"))
    for odd in ODD:
        assert not is_there(typed_path(odd)) and not holds_layers(typed_path(odd)) and stack_at(typed_path(odd))
        assert isinstance(why_not(f"{odd}.txt", View("jobs")), str)


async def test_lines_after_the_colon(tmp_path: Path) -> None:
    app = LaminaApp(Session(tmp_path))
    async with app.run_test():
        for odd in ODD:
            assert await completions(app, f"stack {odd}", {}) == []
            with pytest.raises(Unclear):
                await go(app, f"stack {odd}", {})
        with pytest.raises(Unclear):
            await go(app, f"pid {'9' * 300}", {})
