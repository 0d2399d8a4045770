"""Calls of a restore that may fail: the program runs without what they set, and that is said."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lamina.core.attach.calls import Call


@dataclass(frozen=True)
class Attempt:
    """A call that sets something, and the sentence that is due if it fails, made of what it answered."""

    call: Call
    sentence: Callable[[int], str]

    def failure(self) -> str:
        """After the run: "" if it did."""
        return self.sentence(self.call.result) if -4095 <= self.call.result < 0 else ""


def failures(attempts: Iterable[Attempt]) -> list[str]:
    """After the run: the sentences of those that failed."""
    return [sentence for each in attempts if (sentence := each.failure())]
