#!/bin/bash
# pyte 0.8.2 (the terminal emulator in Python): a character without width that is no accent ends the text it came in. What follows it in the
# same piece of output is not shown: "❤️ love" is a heart (U+2764, then the variation selector U+FE0F), and nothing. So the screen depends
# on how the output was cut into reads, too: fed letter by letter the same text is shown whole. Every terminal shows all of it.
# Seen: feed("❤\ufe0f love") shows '❤'; fed one by one '❤ love'.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" -q --disable-pip-version-check install pyte==0.8.2 wcwidth==0.2.13
"$here/venv/bin/python" - <<'PYTHON'
import pyte

TEXT = "\u2764\ufe0f love"
whole, single = pyte.Screen(20, 2), pyte.Screen(20, 2)
pyte.Stream(whole).feed(TEXT)
stream = pyte.Stream(single)
for letter in TEXT:
    stream.feed(letter)
shown = [screen.display[0].rstrip() for screen in (whole, single)]
print("at once:", ascii(shown[0]), " one by one:", ascii(shown[1]))
assert shown == ["\u2764", "\u2764 love"], shown
PYTHON
