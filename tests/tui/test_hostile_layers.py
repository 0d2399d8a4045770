"""What others named, and what they wrote into a layer: it is shown, and does nothing to the terminal or to lamina."""

import json
import re
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual.color import Color
from textual.strip import Strip

from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.tui.app.appearance import Harmless
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.ask_timed import TimedDialog
from lamina.tui.model.session import Session
from lamina.tui.widgets.hits_pane import HitsPane
from lamina.tui.widgets.layer_detail import LayerDetail
from tests.corpus import unpack
from tests.tui.waiting import until

EVIL = "\x1b]0;mine\x07\x1b[2Jred\x9b31m\u202eabc[/x][@click=app.quit]!\nnext"
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u202a-\u202e]")


def hostile(layer: Path, **fields: Any) -> None:
    sidecar = layer / SIDECAR
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | fields))


def painted(app: LaminaApp) -> str:
    return "".join(strip.text for strip in app.screen._compositor.render_strips())


async def test_a_hostile_layer_is_only_text(tmp_path: Path) -> None:
    stack = unpack("lamina-0.1/three", tmp_path)
    layers = sorted(path.parent for path in stack.rglob(SIDECAR))
    hostile(layers[0], label=EVIL, pin_reason=EVIL, pinned=True, tracker=EVIL, kernel=EVIL, why_not=EVIL, cmdline=[EVIL])
    hostile(layers[1], time=float("inf"))
    hostile(layers[2], freeze_us=10**400)
    app = LaminaApp(Session(layers[0].parent))
    async with app.run_test(size=(110, 36)) as pilot:
        await until(lambda: app.session.stack and len(app.session.stack.rows) == len(layers))
        rows = {row.name: row for row in app.session.stack.rows} if app.session.stack else {}
        assert rows["1"].whole and not rows["2"].whole and "its field time" in rows["2"].finding and "freeze_us" in rows["3"].finding
        for keys in (["down", "down", "down"], ["enter"], ["5"]):
            await pilot.press(*keys)
            await pilot.pause()
            assert not CONTROL.search(painted(app))
        await pilot.press("3")
        await until(lambda: "mine" in painted(app))
        app.stack.go_to_layer("1")
        await until(lambda: "/x]" in str(app.stack.query_one(LayerDetail).border_title))
        app.notify(EVIL)
        await app.push_screen(TimedDialog(1, EVIL, tmp_path))
        await until(lambda: "[/x]" in painted(app))
        await pilot.press("escape", "enter", "/", *"[/x]", "enter")
        await until(lambda: any("[/x]" in str(pane.border_title) for pane in app.screen.query(HitsPane)))
        await pilot.pause()
        assert not CONTROL.search(painted(app))
    assert not app.leaving.last_words


def test_what_is_left_out_takes_no_room() -> None:
    before = Strip([Segment(f"{EVIL.replace(chr(10), '')} caf\udce9 漢\u202f1")])
    after = before.apply_filter(Harmless(), Color(0, 0, 0))
    assert after.text == "]0;mine[2Jred31mabc[/x][@click=app.quit]!next caf\ufffd 漢\u202f1"
    assert sum(segment.cell_length for segment in after) == before.cell_length
    plain = [Segment("plain")]
    assert Harmless().apply(plain, Color(0, 0, 0)) is plain
