"""What an SVG of a screen shows, cell by cell: two pictures are the same if these are, however their SVG is written.

Rich writes the SVG: texts and rectangles on a grid of cells. Versions of it and of Textual cut texts in other places, name styles
otherwise and round colours otherwise; a person would see no difference, so none is made here.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any
from xml.sax.saxutils import escape

# A cell of rich.console.Console.export_svg: font size 20, aspect 0.61, a line 1.22 of it.
_WIDTH, _HEIGHT, _ASCENT = 12.2, 24.4, 20.0
_SVG = "{http://www.w3.org/2000/svg}"
_RULE = re.compile(r"\.(?:[\w-]*-)?(r\d+)\s*\{([^}]*)\}")
# In a window of ours: lines close enough for frames to touch, the edge, the bar above with its three lights.
_CLOSE, _EDGE, _BAR = 23.4, 10, 34
_LIGHTS = ("#ff5f57", "#febc2e", "#28c840")
# The end of a scroll bar, which is another one when a line more can be scrolled to.
_EIGHTHS = set("▁▂▃▄▅▆▇")
# Colours nearer than this in each part are the same to the eye.
_NEAR = 12


@dataclass(frozen=True)
class Cell:
    """One cell: its letter, colour, background, and what else its style says."""

    letter: str = " "
    colour: str = ""
    ground: str = ""
    style: str = ""

    def like(self, other: "Cell") -> bool:
        """Whether a person would see the same."""
        same = (self.letter == other.letter or {self.letter, other.letter} <= _EIGHTHS) and _near(self.ground, other.ground)
        # The colour of a blank is not seen.
        return same and (self.letter.isspace() or (self.style == other.style and _near(self.colour, other.colour)))


Cells = dict[tuple[int, int], Cell]


def cells(svg: str) -> Cells:
    """The cells of a picture by (line, column)."""
    root = ET.fromstring(svg)
    rules = dict(_RULE.findall("".join(root.itertext())))
    found: Cells = {}
    for rect in root.iter(f"{_SVG}rect"):
        if rect.get("fill") and not rect.get("rx"):  # no frame, and no clip path
            line, column = round((_number(rect, "y") - 1.5) / _HEIGHT), round(_number(rect, "x") / _WIDTH)
            for at in range(round(_number(rect, "width") / _WIDTH)):
                found[line, column + at] = Cell(ground=rect.get("fill", ""))
    for text in root.iter(f"{_SVG}text"):
        name = re.search(r"r\d+$", text.get("class", ""))
        if name is None:
            continue  # the title of the window
        rule = dict(part.split(":", 1) for part in rules[name[0]].replace(" ", "").split(";") if part)
        colour = rule.pop("fill", "")
        style = ";".join(f"{key}:{value}" for key, value in sorted(rule.items()))
        line, column = round((_number(text, "y") - _ASCENT) / _HEIGHT), round(_number(text, "x") / _WIDTH)
        for at, letter in enumerate((text.text or "").replace("\xa0", " ")):
            ground = found.get((line, column + at), Cell()).ground
            found[line, column + at] = Cell(letter, colour, ground, style)
    return found


def _number(element: ET.Element, name: str) -> float:
    return float(element.get(name, "0"))


def _near(one: str, other: str) -> bool:
    if one == other:
        return True
    if not (len(one) == len(other) == 7):
        return False
    return all(abs(int(one[at : at + 2], 16) - int(other[at : at + 2], 16)) <= _NEAR for at in (1, 3, 5))


def differences(one: str, other: str) -> Iterator[str]:
    """A line for each line of the screen that differs: what stands there in both, or in which columns only the look is another."""
    a, b = cells(one), cells(other)
    columns = 1 + max((column for _, column in (*a, *b)), default=0)
    for line in range(1 + max((line for line, _ in (*a, *b)), default=0)):
        before, now = ([some.get((line, column), Cell()) for column in range(columns)] for some in (a, b))
        unlike = [at for at, (x, y) in enumerate(zip_longest(before, now)) if not x.like(y)]
        if unlike:
            texts = ["".join(cell.letter for cell in some).rstrip() for some in (before, now)]
            if texts[0] != texts[1]:
                yield from (f"- {line:2} {texts[0]}", f"+ {line:2} {texts[1]}")
            else:
                yield f"~ {line:2} another look in columns {', '.join(_spans(unlike))}: {texts[0]}"


def _spans(numbers: list[int]) -> Iterator[str]:
    for _, same in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in same]
        yield f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0])


def draw(found: Cells, height: float = _HEIGHT) -> str:
    """The SVG of some cells, as `cells` reads it: only what is seen. *height* of a line: less than usual, and the parts of frames touch."""
    columns, lines = _size(found)
    return _svg(columns * _WIDTH, lines * height + 2, *_drawn(found, height))


def framed(pictures: Sequence[tuple[Cells, float]]) -> str:
    """A window that shows *pictures* one after the other, each for so many seconds; of one only, a window that does not move."""
    columns, lines = _size(pictures[0][0])
    whole, at = sum(seconds for _, seconds in pictures), 0.0
    inks: dict[tuple[str, str], str] = {}
    rules: list[str] = []
    body: list[str] = []
    for number, (found, seconds) in enumerate(pictures):
        more, elements = _drawn(found, _CLOSE, inks)
        if len(pictures) > 1:
            begin, end = (f"{100 * moment / whole:.2f}%" for moment in (at, at + seconds))
            hidden = "0%{visibility:hidden}" if number else ""
            more += [f"@keyframes k{number}{{{hidden}{begin}{{visibility:visible}}{end}{{visibility:hidden}}}}"]
            more += [f"#p{number}{{animation:k{number} {whole:.1f}s step-end infinite}}"]
            # Who does not animate shows the first.
            elements = [f'<g id="p{number}" visibility="{"hidden" if number else "visible"}">', *elements, "</g>"]
        rules, body, at = rules + more, body + elements, at + seconds
    width, height = columns * _WIDTH + 2 * _EDGE, lines * _CLOSE + _BAR + _EDGE
    ground = next((cell.ground for cell in pictures[0][0].values() if cell.ground), "#000000")
    window = f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="{ground}" stroke="#808080" stroke-opacity="0.35"/>'
    lights = [f'<circle cx="{22 + 22 * place}" cy="{_BAR / 2}" r="7" fill="{colour}"/>' for place, colour in enumerate(_LIGHTS)]
    return _svg(width, height, rules, [window, *lights, f'<g transform="translate({_EDGE} {_BAR})">', *body, "</g>"])


def _size(found: Cells) -> tuple[int, int]:
    columns, lines = (1 + max(place[axis] for place in found) for axis in (1, 0))
    return columns, lines


def _svg(width: float, height: float, rules: Sequence[str], body: Sequence[str]) -> str:
    # Of this size the letters of both fonts are as wide as a cell.
    font = 'font-family="Fira Code, DejaVu Sans Mono, monospace" font-size="20.3" xml:space="preserve"'
    head = f'<svg xmlns="{_SVG[1:-1]}" viewBox="0 0 {width:.0f} {height:.0f}" {font}>'
    return "\n".join([head, "<style>", *rules, "</style>", *body, "</svg>", ""])


def _drawn(found: Cells, height: float, inks: dict[tuple[str, str], str] | None = None) -> tuple[list[str], list[str]]:
    """The rules of the inks that are not in *inks* yet, and the elements."""
    columns, lines = _size(found)
    inks = {} if inks is None else inks
    known = set(inks.values())
    grounds, texts = [], []
    for line in range(lines):
        row = [found.get((line, column), Cell()) for column in range(columns)]
        for ground, at, some in _runs(row, lambda cell: cell.ground):
            size = f'width="{len(some) * _WIDTH:.1f}" height="{height + 0.3:.1f}"'
            grounds.append(f'<rect x="{at * _WIDTH:.1f}" y="{line * height + 1.5:.1f}" {size} fill="{ground}"/>')
        for ink, at, some in _runs(row, lambda cell: (cell.colour, cell.style) if cell.letter.strip() else None):
            name = inks.setdefault(ink, f"r{len(inks) + 1}")
            place = f'x="{at * _WIDTH:.1f}" y="{line * height + _ASCENT:.1f}" textLength="{len(some) * _WIDTH:.1f}"'
            texts.append(f'<text class="{name}" {place}>{escape("".join(cell.letter for cell in some))}</text>')
    rules = [f".{name} {{ fill:{colour};{style} }}" for (colour, style), name in inks.items() if name not in known]
    return rules, [*grounds, *texts]


def _runs(row: list[Cell], look: Callable[[Cell], Any]) -> Iterator[tuple[Any, int, list[Cell]]]:
    """Neighbours of one look: the look, the column of the first, the cells. Those without a look are left out."""
    for what, same in groupby(enumerate(row), key=lambda pair: look(pair[1])):
        run = list(same)
        if what:
            yield what, run[0][0], [cell for _, cell in run]
