"""A guide of a few lines for the first minute, one step at a time. Once it was followed it is never shown again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamina.tui.model import journal
from lamina.tui.model.journal import Journal
from lamina.tui.model.session import Session


@dataclass(frozen=True)
class Step:
    """One line, and how to know that it was followed. One that does not *ask* for anything is a farewell.

    *untracked* is shown instead for a target that is not tracked, if the line would then be wrong.
    """

    line: str
    followed: Callable[[Session, Journal], bool]
    asks: bool = True
    untracked: str = ""


class Guide:
    """Which of *steps* the reader is at. *name* is the file that remembers that they were followed."""

    def __init__(self, name: str, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._place = guides_dir() / name
        self._at = len(steps) if self._place.exists() else 0
        self._tracked = True

    @property
    def line(self) -> str:
        """The current step; "" once all were followed."""
        if self._at >= len(self._steps):
            return ""
        number = f"{self._at + 1}/{len(self._steps)}  " if len(self._steps) > 1 else ""
        step = self._steps[self._at]
        return number + (step.line if self._tracked else step.untracked or step.line)

    def follow(self, session: Session, done: Journal) -> bool:
        """Go on as far as steps were followed. Returns whether the last step that asks for something was; then call `remember`."""
        before = self._at
        self._tracked = session.target is None or bool(session.target.tracker)
        while self._at < len(self._steps) and self._steps[self._at].followed(session, done):
            self._at += 1
        asked = sum(step.asks for step in self._steps)
        return before < asked <= self._at

    def remember(self) -> None:
        """Remember that it was followed, so that it is not shown again."""
        self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._place.touch()


def guides_dir() -> Path:
    """Where it is remembered which guides were followed; in the XDG state directory, not created here."""
    from platformdirs import user_state_path

    return user_state_path("lamina") / "guides"


def layers(session: Session) -> int:
    """How many layers the stack has."""
    return len(session.stack.rows) if session.stack is not None else 0


def done(jobs: Journal, *kinds: str) -> int:
    """How many operations of *kinds* have succeeded."""
    return sum(job.state == journal.DONE and job.operation.kind in kinds for job in jobs.jobs)


FIRST_START = (
    Step(
        "↓ choose a process · d take a layer of it · 3 its layers: r goes back · ? help",
        lambda session, _: layers(session) > 0,
    ),
)
