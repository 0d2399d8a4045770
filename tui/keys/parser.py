"""What a terminal sends, as keys. Textual's parser knows all keys, but not where a sequence ends.

An Escape that is typed ahead comes right before the next key, and looks like Alt with that key, or like the beginning of a sequence.
Textual 8.2 then waits a tenth of a second for more, and turns the Escape into "^", or Escape and 3 into a pound sign. So its parser is
given whole sequences only.
"""

import re
import time
from collections.abc import Generator, Iterator

from textual import events
from textual.message import Message

from lamina.tui.textual_private import SequenceParser

_ESC, _PASTE, _PASTED = "\x1b", "\x1b[200~", "\x1b[201~"
# A control sequence, also as the Linux console (F1 to F5) and rxvt (Shift) send it; or SS3 and one letter: cursor keys, F1 to F4, the
# keypad (ECMA-48 5.4, console_codes(4), XTerm control sequences).
_WHOLE = re.compile(r"\x1b(?:\[(?:\[[A-E]|[0-?]*[ -/]*[@-Z\\-~$])|O[A-DFHMP-Sa-dj-y])")
_BEGUN = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*|O)?")
# How long the rest of a sequence may take to arrive (s).
PATIENCE_S = 0.1


class KeyParser:
    """Turns what was read from a terminal into events: keys, mouse, paste and reports."""

    def __init__(self) -> None:
        self._parser = SequenceParser()
        # The beginning of a sequence, and when it came (time.monotonic); what was pasted so far.
        self._begun, self._since = "", 0.0
        self._pasted: str | None = None

    def feed(self, text: str) -> Iterator[Message]:
        """The events in *text*, which was read just now."""
        text, self._begun = self._begun + text, ""
        alone = len(text) == 2
        while text:
            if self._pasted is not None:
                text = yield from self._paste(text)
            elif text[0] != _ESC:
                plain = text.partition(_ESC)[0]
                yield from self._parser.feed(plain)
                text = text[len(plain) :]
            elif text.startswith(_PASTE):
                self._pasted, text = "", text[len(_PASTE) :]
            elif whole := _WHOLE.match(text):
                yield from self._sequence(whole[0])
                text = text[whole.end() :]
            elif _BEGUN.fullmatch(text):
                self._begun, self._since, text = text, time.monotonic(), ""
            elif alone and text[1] != _ESC:
                yield from self._with_alt(text[1])
                text = ""
            else:
                yield events.Key("escape", _ESC)
                text = text[1:]

    def tick(self) -> Iterator[Message]:
        """The events that are certain now that nothing more has come for a while."""
        if self._begun and time.monotonic() - self._since >= PATIENCE_S:
            letters, self._begun = self._begun[1:], ""
            yield events.Key("escape", _ESC)
            yield from self._parser.feed(letters) if letters else ()

    def _paste(self, text: str) -> Generator[Message, None, str]:
        whole = (self._pasted or "") + text
        pasted, end, rest = whole.partition(_PASTED)
        self._pasted = None if end else whole
        if end:
            yield events.Paste(pasted.replace("\0", ""))
        return rest

    def _sequence(self, sequence: str) -> Iterator[Message]:
        yield from self._parser.feed(sequence)
        if self._parser.is_waiting:
            self._parser = SequenceParser()
            if len(sequence) == 3:
                yield events.Key("escape", _ESC)
                yield from self._parser.feed(sequence[1:])

    def _with_alt(self, letter: str) -> Iterator[Message]:
        for message in self._parser.feed(letter):
            if isinstance(message, events.Key):
                name = f"shift+{message.key.lower()}" if len(message.key) == 1 and message.key.isupper() else message.key
                yield events.Key(f"alt+{name}", message.character)
