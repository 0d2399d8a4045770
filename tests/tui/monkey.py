"""Random keys, fast, on the demo: `python -m tests.tui.monkey SEED KEYS [--readonly]` says as JSON what came of it.

To be run in a PID namespace of its own, with its own /proc: it may choose any process it sees.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path

from textual import events
from textual.await_complete import AwaitComplete
from textual.keys import _character_to_key

from lamina.tui.demo.host import DemoProgram
from lamina.tui.demo.run import DemoApp
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.model.session import Session

MOVES = ["up", "down", "left", "right", "pageup", "pagedown", "home", "end", "tab", "shift+tab", "escape", "escape", "enter", "enter"]
CONTROL = [f"ctrl+{key}" for key in ("p", "o", "g", "right", "left", "up", "a", "r", "x", "u")]
OTHERS = ["space", "delete", "backspace", "f1", "f10", *CONTROL]
LETTERS = "1234561234tdTFrmvxszlPEIDKRVMoOp=/:?nNaCyYc><.*ZIw+-0gGjk[]fé漢"
SIZES = [(80, 24), (100, 30), (20, 5), (160, 50)]
DRAINED, PATIENCE_S = 20, 20.0


async def play(seed: int, keys: int, readonly: bool) -> dict[str, object]:
    """Press *keys* keys chosen by *seed*. "dared" are the answers to dialogs that were not the safe one."""
    dice = random.Random(seed)
    program = DemoProgram(seed=3)
    before, descriptors = _identity(program.pid), _descriptors(program.pid)
    app = DemoApp(Session(readonly=readonly), program)
    setattr(app, "action_leave", lambda: None)  # noqa: B010
    dared: list[str] = []
    dismiss = Confirm.dismiss

    def answered(self: Confirm, result: str | None = None) -> AwaitComplete:
        if result not in (None, self._choices[0].key):
            dared.append(f"{self._title}: {result}")
        return dismiss(self, result)

    setattr(Confirm, "dismiss", answered)  # noqa: B010
    try:
        async with app.run_test(size=SIZES[0]) as pilot:
            for number in range(keys):
                key = "td"[number] if number < 2 else dice.choice(MOVES + OTHERS) if dice.random() < 0.45 else dice.choice(LETTERS)
                app.post_message(events.Key(key if len(key) > 1 else _character_to_key(key), key if len(key) == 1 else None))
                if dice.random() < 0.02:
                    await pilot.resize_terminal(*dice.choice(SIZES))
                async with asyncio.timeout(PATIENCE_S):
                    while dice.random() < 0.3 or app.message_queue_size > DRAINED:
                        await asyncio.sleep(0.003)
            app.bridge.cancel()
            async with asyncio.timeout(PATIENCE_S):
                await app.bridge.wait_idle()
                while app.message_queue_size:
                    await asyncio.sleep(0.01)
            return {
                "last words": app.leaving.last_words,
                "internal": [job.outcome for job in app.journal.jobs if "internal error" in job.outcome],
                "dared": dared,
                "jobs": sorted({job.operation.kind for job in app.journal.jobs}),
                "same program": _identity(program.pid) == before,
                "descriptors": _descriptors(program.pid) - descriptors,
                "layers": sorted(path.name for path in program.images.iterdir()),
            }
    finally:
        program.end()


def _identity(pid: int) -> tuple[int, str]:
    """Which process it is: its pid and when it began."""
    stat = Path(f"/proc/{pid}/stat")
    return pid, stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else ""


def _descriptors(pid: int) -> int:
    """How many it has: one more while it is tracked."""
    held = Path(f"/proc/{pid}/fd")
    return len(list(held.iterdir())) if held.exists() else 0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(int(sys.argv[1]), int(sys.argv[2]), "--readonly" in sys.argv))))
    sys.stdout.flush()
    os._exit(0)  # whatever threads still look at something
