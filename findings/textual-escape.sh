#!/bin/sh
# Textual 8.2.8: Escape that arrives in one read with what is typed after it is no Escape. "^" is typed instead, or a sign that a Mac's
# keyboard would have made of Option and the key. A busy machine reads many keys at once, so `/abc`, Escape, `d` filters for "abc^d".
#
# Seen on Python 3.11.7 (textual.drivers.linux_driver feeds XTermParser with whatever one read(2) gives):
#   Escape d d Up  ->  circumflex_accent d d up
#   Escape 3       ->  £
#   Escape d       ->  alt+d, a tenth of a second later
# Expected: Escape first, as in vim or readline with a timeout, or Alt with the key for all of them.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" -q install textual==8.2.8
"$place/venv/bin/python" - <<'PYTHON'
import time
from textual._xterm_parser import XTermParser

def keys(text):
    parser = XTermParser()
    found = list(parser.feed(text))
    time.sleep(0.15)
    return [event.key for event in found + list(parser.tick())]

for text, wanted in (
    ("\x1bdd\x1b[A", ["circumflex_accent", "d", "d", "up"]),
    ("\x1b" + "d" * 40, ["circumflex_accent"] + ["d"] * 40),
    ("\x1bd", ["alt+d"]),
):
    found = keys(text)
    print(repr(text[:12]), found[:6])
    assert found == wanted, found
(event,) = XTermParser().feed("\x1b3")
print(repr("\x1b3"), event.character)
assert event.character == "£"
PYTHON
