"""Types ahead, each key with the place in mind that it is meant for: `python -m tests.tui.typist SEED KEYS` says as JSON what came of it.

Keys are made in rounds. A round knows what it leads to: operations, answers, texts in their order, and where it ends. It is sent at once,
in bursts, or key by key, to the real app on a real stack and a real process. Only what operations ask of the engine is noted down and not
done: two hundred thousand keys would take ten thousand layers. Dry runs and everything that only reads are done. Half of the time nothing
is painted, which would be half of the work, and no key waits for paint.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual import events
from textual.keys import _character_to_key
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.dialogs.confirm import Confirm
from lamina.tui.model.operation import Operation
from lamina.tui.model.session import Session
from lamina.tui.operations import labels
from lamina.tui.services.line_history import LineHistory
from lamina.tui.services.timed_layers import TimedLayers
from lamina.tui.widgets.filter_line import FilterLine
from lamina.tui.widgets.hits_pane import HitsPane
from tests.corpus import unpack

# What is typed as text is made of letters that would do something elsewhere.
LETTERS = "dtFTrmxszlPEIDKRVMoOp=/:?nNaCyYcqfZvhjkgG123456 .<>*+-0é漢"
DIGITS = {"processes": "1", "target": "2", "stack": "3", "image": "4", "jobs": "5"}
# Ends a round wherever it has led.
PATIENCE_S = 120.0
Seen = list[tuple[str, str]]


@dataclass
class Round:
    """Some keys and what they lead to.

    Attributes:
        keys: as Textual names them, or text that is pasted.
        seen: what is to be seen of it, in order.
        place: where it ends: the name of the screen, and what stands in the line that is typed into; None if there is none.
    """

    place: str
    keys: list[str | events.Paste] = field(default_factory=list)
    seen: Seen = field(default_factory=list)
    line: str | None = None


class Typist:
    """Makes rounds by dice."""

    def __init__(self, dice: random.Random, victim: str) -> None:
        self._dice, self._victim = dice, victim
        self._round = Round("stack")

    def next_round(self) -> Round:
        """Some steps, and perhaps a line that is left open."""
        done = self._round = Round(self._round.place)
        for _ in range(self._dice.randint(1, 12)):
            self._step()
        if self._dice.random() < 0.5:
            self._leave_a_line_open()
        return done

    def _press(self, *keys: str) -> None:
        self._round.keys.extend(keys)

    def _type(self, text: str) -> str:
        """Letter by letter, or pasted; sometimes with a mistake that is mended."""
        if text and self._dice.random() < 0.2:
            self._round.keys.append(events.Paste(text))
            return text
        for letter in text:
            if self._dice.random() < 0.03:
                self._press("d", "backspace")
            self._press(letter)
        return text

    def _text(self) -> str:
        text = "".join(self._dice.choice(LETTERS) for _ in range(self._dice.randint(1, self._dice.choice((3, 14, 60, 150)))))
        return text.strip() or "dd"

    def _saw(self, what: str, text: str = "") -> None:
        self._round.seen.append((what, text))

    def _step(self) -> None:
        here = {
            "processes": (self._go, self._filter, self._help, self._columns, self._lost_line),
            "stack": (
                self._go, self._go, self._dump, self._label, self._pin, self._restore, self._dedup, self._drop, self._export,
                self._tidy, self._final, self._timed, self._help, self._pane_letters, self._palette, self._lost_line, self._verify,
                self._save, self._open,
            ),
            "target": (self._go, self._dump, self._final, self._help, self._timed, self._address, self._lost_line, self._palette),
            "image": (self._go, self._find, self._address, self._help, self._dump, self._lost_line),
            "jobs": (self._go, self._help, self._lost_line, self._needle, self._dump),
        }  # fmt: skip
        self._dice.choice(here[self._round.place])()

    # -- screens ---------------------------------------------------------------------------------------------------------------------

    def _go(self) -> None:
        """By digit, by name, or, from the processes, by choosing one."""
        place = self._dice.choice([name for name in DIGITS if name != self._round.place])
        way = self._dice.random()
        if self._round.place == "processes" and way < 0.3:
            self._press("slash", *self._victim, "enter", "enter")
            self._saw("filter", self._victim)
            place = "target"
        elif way < 0.6:
            self._press(DIGITS[place])
        else:
            self._press("colon")
            self._type(place)
            self._press("enter")
            self._saw("line", place)
        self._round.place = place

    def _filter(self) -> None:
        """Letters of operations in the filter, then the process is taken."""
        self._press("slash")
        self._saw("filter", self._type(self._text()))
        self._press("escape")
        if self._dice.random() < 0.5:
            self._press("slash", *self._victim, "enter")
            self._saw("filter", self._victim)
            self._press("d")
            self._saw("operation", "dump")
            if self._dice.random() < 0.5:
                self._press("F", "right", "enter")
                self._saw("answer", "Final:end")
                self._saw("operation", "final")

    def _columns(self) -> None:
        self._press("o", *self._dice.choice((("d", "q"), ("t", "escape"), ("o",))))

    # -- operations and their questions ------------------------------------------------------------------------------------------------

    def _dump(self) -> None:
        for _ in range(self._dice.randint(1, 2)):
            self._press("d")
            self._saw("operation", "dump")

    def _verify(self) -> None:
        self._press(self._dice.choice("vV"))
        self._saw("operation", "verify")

    def _confirm(self, title: str, answers: tuple[str, ...], operations: tuple[str, ...], passed: int = 0) -> None:
        """Choose among *answers*, the first the safe one; letters in between do nothing. *passed*: those that arrows do not come to."""
        near = len(answers) - passed
        at = self._dice.randrange(near)
        way = self._dice.random()
        for _ in range(at):
            self._press(*self._dice.sample("dtFrx1q2", self._dice.randint(0, 2)), self._dice.choice(("right", "l", "down", "j")))
        if way < 0.25:
            self._press("escape")
            self._saw("answer", f"{title}:None")
            return
        self._press("enter")
        self._saw("answer", f"{title}:{answers[at]}")
        if operations[at]:
            self._saw("operation", operations[at])

    def _final(self) -> None:
        self._press("F")
        self._confirm("Final", ("cancel", "end"), ("", "final"))

    def _restore(self) -> None:
        self._press("r")
        self._confirm("Restore", ("cancel", "restore"), ("", "restore"))

    def _drop(self) -> None:
        """Its question comes after a dry run."""
        self._press("delete")
        self._confirm("Drop", ("cancel", "drop"), ("", "drop"))

    def _dedup(self) -> None:
        """So does this one; what loses something is passed by the arrows, and nothing is held twice here."""
        self._press("x")
        self._confirm("Dedup", ("cancel", "dedup"), ("", "dedup"), passed=1)

    def _ask(self, text: str) -> str | None:
        """Type over what stands in the line; the answer, None for Escape."""
        typed = self._type(text)
        if self._dice.random() < 0.3:
            self._press("escape")
            self._saw("text", "None")
            return None
        self._press("enter")
        self._saw("text", typed)
        return typed

    def _label(self) -> None:
        self._press("l")
        if (text := self._ask(self._text())) is not None:
            self._saw("label", text.strip())
            self._saw("operation", "label")

    def _pin(self) -> None:
        self._press("P")
        if (text := self._ask(self._text())) is not None:
            self._saw("pin", text.strip())
            self._saw("operation", "pin")

    def _export(self) -> None:
        self._press("E")
        if self._ask(f"dd{self._dice.randrange(10**6)}.tar.zst") is not None:
            self._confirm("Export", ("cancel", "with", "flat", "alone"), ("", "export", "export", "export"))

    def _save(self) -> None:
        self._press("Y")
        self._type(self._text())
        self._press("escape")
        self._saw("text", "None")

    def _address(self) -> None:
        """An address that is nowhere is not taken: Enter changes nothing."""
        self._press("a")
        self._type("dead")
        self._press("enter", "escape")
        self._saw("text", "None")

    def _tidy(self) -> None:
        self._press("D")
        self._type(self._text())
        self._press("escape")

    def _open(self) -> None:
        """The list is looked for in a thread."""
        self._press("o", *self._dice.sample("dtx", 1), self._dice.choice(("q", "escape")))

    def _timed(self) -> None:
        self._press("T")
        seconds = self._dice.randint(1, 99)
        self._type(f"{seconds}s")
        if self._dice.random() < 0.5:
            self._press("enter")
            self._saw("timed", f"every {seconds} s")
        else:
            self._press("escape")

    # -- places of letters ------------------------------------------------------------------------------------------------------------

    def _help(self) -> None:
        """q leaves the help, not lamina."""
        if self._dice.random() < 0.5:
            self._press("question_mark", "d", "t", self._dice.choice(("q", "escape", "question_mark")))
        else:
            self._press("question_mark", "slash")
            self._type(self._text())
            self._press("escape", "q")

    def _pane_letters(self) -> None:
        self._press("ctrl+o", "a")

    def _palette(self) -> None:
        """Enter is for what all letters have found, on whichever screen that is."""
        self._press("ctrl+p")
        if self._dice.random() < 0.3:
            self._type(self._text())
            self._press("escape")
            return
        self._type("stack: label" if self._round.place != "stack" else "label")
        self._press("enter")
        self._round.place = "stack"
        if (text := self._ask(self._text())) is not None:
            self._saw("label", text.strip())
            self._saw("operation", "label")

    def _lost_line(self) -> None:
        """What cannot be meant is said, and the line stays."""
        self._press("colon")
        line = self._type(f"zz{self._text()}").strip()
        self._press("enter", "escape")
        self._saw("line", line)

    def _find(self) -> None:
        """Hits are waited for."""
        self._press("slash")
        self._saw("find", self._type(f"~{self._text()}"))
        self._press("enter", "n", "N", "escape")

    def _needle(self) -> None:
        self._press("tab", "slash")
        self._type(self._text())
        self._press("escape", "shift+tab")

    def _leave_a_line_open(self) -> None:
        if self._round.place == "processes" and self._dice.random() < 0.5:
            self._press("slash")
        elif self._round.place == "stack" and self._dice.random() < 0.5:
            self._press("l")
        else:
            self._press("colon")
        self._round.line = self._type(f"zz{self._text()}")


class Recorder:
    """The app, and what is seen of it."""

    def __init__(self, stack: Path) -> None:
        self.app = LaminaApp(Session(stack))
        self.seen: Seen = []
        self.said: list[str] = []

    def patch(self) -> Iterator[tuple[object, str, Any]]:
        """What is noted down: where, its name, and the function that notes it."""
        seen, do, notify = self.seen, self.app.queue.do, self.app.notices.tell

        def do_or_note(operation: Operation) -> bool:
            if operation.kind == "plan":
                return do(operation)
            seen.append(("operation", operation.kind))
            return True

        def noting(cls: type, name: str, what: Callable[..., tuple[str, str] | None]) -> tuple[object, str, Any]:
            before = getattr(cls, name)

            def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
                if (found := what(self, *args, **kwargs)) is not None:
                    seen.append(found)
                return before(self, *args, **kwargs)

            return cls, name, noted

        def of_mark(what: str) -> Any:
            before = getattr(labels, what)

            def noted(layer: Path, text: str) -> Operation:
                seen.append((what, text))
                return before(layer, text)  # type: ignore[no-any-return]

            return noted

        def told(message: str, *rest: Any, **options: Any) -> None:
            self.said.append(message)
            notify(message, *rest, **options)

        def left(line: FilterLine, *_: object) -> tuple[str, str] | None:
            return ("filter", line._input.value) if line.display and line._input.value else None

        def answered(dialog: Confirm, result: object = None) -> tuple[str, str]:
            return "answer", f"{dialog._title.split()[0]}:{result}"

        yield self.app.queue, "do", do_or_note
        yield self.app.notices, "tell", told
        yield labels, "label", of_mark("label")
        yield labels, "pin", of_mark("pin")
        yield noting(FilterLine, "clear", left)
        yield noting(FilterLine, "post_message", lambda line, message: left(line) if isinstance(message, FilterLine.Left) else None)
        yield noting(LineHistory, "add", lambda _history, line: ("line", line))
        yield noting(Confirm, "dismiss", answered)
        yield noting(AskText, "dismiss", lambda _dialog, result=None: ("text", str(result)))
        yield noting(HitsPane, "searching", lambda _pane, asked: ("find", asked.typed))
        yield TimedLayers, "begin", lambda _self, _pid, _name, _stack, rhythm: seen.append(("timed", f"every {rhythm.every_s:g} s"))

    def place(self) -> tuple[str, str | None]:
        """The screen, and what stands in the line that is typed into; what is shown over the screen is no such line."""
        app = self.app
        over = app.screen if isinstance(app.screen, ModalScreen) and not isinstance(app.screen, AskText) else None
        name = type(over).__name__ if over is not None else app.current_mode
        return name, app.focused.value if isinstance(app.focused, Input) else None


def as_event(key: str | events.Paste) -> events.Event:
    """The event that the driver makes of it."""
    if isinstance(key, events.Paste):
        return key
    return events.Key(_character_to_key(key), key) if len(key) == 1 else events.Key(key, _SIGNS.get(key))


_SIGNS = {"slash": "/", "colon": ":", "question_mark": "?"}


async def send(app: LaminaApp, keys: list[str | events.Paste], dice: random.Random) -> None:
    """At one of many speeds."""
    speed = dice.choice((0.0, 0.0, 0.001, 0.01, 0.03))
    burst = dice.choice((1, 3, 10))
    for number, key in enumerate(keys):
        app.post_message(as_event(key))
        if speed and number % burst == burst - 1:
            await asyncio.sleep(dice.random() * 2 * speed)


async def settled(app: LaminaApp) -> None:
    """Until all that was typed has led to what it leads to."""
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.sleep(0)
        while app.message_queue_size or not app.type_ahead.settled:
            await asyncio.sleep(0.002)


async def play(seed: int, keys: int) -> dict[str, object]:
    """Type *keys* keys or a few more. "wrong" is what was not as it should be, with the round that led there."""
    dice = random.Random(seed)
    wrong: list[dict[str, object]] = []
    typed, began, rounds = 0, time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="typist") as place:
        os.chdir(place)
        stack = unpack("lamina-0.1/three", Path(place))
        victim = f"zvictim{seed}"
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)", victim], stdin=subprocess.DEVNULL)
        recorder = Recorder(stack)
        app = recorder.app
        for where, name, function in recorder.patch():
            setattr(where, name, function)
        if dice.random() < 0.5:
            setattr(Screen, "_compositor_refresh", lambda _screen: None)  # noqa: B010
        try:
            async with app.run_test(size=dice.choice(((100, 30), (160, 50)))):
                app.reader.aim(sleeper.pid)
                await settled(app)
                typist = Typist(dice, victim)
                app.post_message(as_event("3"))
                await settled(app)
                while typed < keys and len(wrong) < 3:
                    one = typist.next_round()
                    recorder.seen.clear()
                    recorder.said.clear()
                    await send(app, one.keys, dice)
                    await settled(app)
                    typed += len(one.keys)
                    rounds += 1
                    lost = [text for text in recorder.said if "not taken" in text]
                    if recorder.seen != one.seen or recorder.place() != (one.place, one.line) or lost or app.leaving.last_words:
                        wrong.append(
                            {
                                "round": rounds, "keys": [str(key) for key in one.keys], "seen": recorder.seen.copy(), "meant": one.seen,
                                "place": recorder.place(), "meant place": (one.place, one.line), "said": recorder.said.copy(),
                            }
                        )  # fmt: skip
                        break
                    if one.line is not None:
                        recorder.seen.clear()
                        app.post_message(as_event("escape"))
                        await settled(app)
        finally:
            sleeper.kill()
            sleeper.wait()
            os.chdir("/")
    took = round(time.monotonic() - began, 1)
    return {"typed": typed, "rounds": rounds, "seconds": took, "wrong": wrong, "last words": app.leaving.last_words}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(int(sys.argv[1]), int(sys.argv[2])))))
    sys.stdout.flush()
    os._exit(0)  # whatever threads still look at something
