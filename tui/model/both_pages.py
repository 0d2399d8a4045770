"""One page as it is on two sides, cut into the lines a screen shows: those that differ, some around them, and gaps."""

from dataclasses import dataclass

_AROUND = 1
# The line that stands for a gap takes room, too.
_SHORTEST_GAP = 3


@dataclass(frozen=True)
class SidePage:
    """A page on one side.

    Attributes:
        data: its bytes, or None if they are not available.
        who: which layer or process has them, or why none does.
    """

    data: bytes | None
    who: str


@dataclass(frozen=True)
class BothPages:
    """A page on both sides.

    Attributes:
        which: the task, or shared object, on side b.
        address: of its first byte.
        a, b: what is there.
    """

    which: int | str
    address: int
    a: SidePage
    b: SidePage

    @property
    def differing(self) -> int:
        """How many bytes differ; 0 if those of one side are not available."""
        return sum(self.marks(0, len(self.a.data or b"")))

    def marks(self, start: int, end: int) -> tuple[bool, ...]:
        """For each byte from offset *start* on, whether it differs; False if those of one side are not available."""
        if self.a.data is None or self.b.data is None:
            return (False,) * (end - start)
        one, other = self.a.data[start:end], self.b.data[start:end]
        return tuple(x != y for x, y in zip(one, other, strict=True)) if one != other else (False,) * (end - start)


@dataclass(frozen=True)
class PairLine:
    """One line.

    Attributes:
        offset: of its first byte in the page.
        a, b: its bytes; empty if they are not available.
        marks: which of them differ.
        left_out: if it stands for a gap, how many equal bytes it leaves out; 0 for a line.
    """

    offset: int
    a: bytes = b""
    b: bytes = b""
    marks: tuple[bool, ...] = ()
    left_out: int = 0

    @property
    def number(self) -> tuple[int, int, int] | None:
        """What changed, as an unsigned number: (its bytes, before, after). The smallest aligned one of at most 8 bytes that all of it lies
        in; None if there is none.
        """
        differ = [at for at, mark in enumerate(self.marks) if mark]
        if not differ:
            return None
        first, last = differ[0], differ[-1]
        size = next((size for size in (1, 2, 4, 8) if first // size == last // size), 0)
        if not size:
            return None
        place = slice(first // size * size, first // size * size + size)
        return size, int.from_bytes(self.a[place], "little"), int.from_bytes(self.b[place], "little")


def pair_lines(pages: BothPages, width: int, whole: bool = False) -> tuple[PairLine, ...]:
    """*pages* in lines of *width* bytes; unless *whole*, without the stretches in which nothing differs."""
    size = len(pages.a.data or pages.b.data or b"")
    lines = [_line(pages, at, min(at + width, size)) for at in range(0, size, width)]
    differ = [at for at, line in enumerate(lines) if any(line.marks)]
    if whole or not differ:
        return tuple(lines)
    near = {at + by for at in differ for by in range(-_AROUND, _AROUND + 1)}
    shown: list[PairLine] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and end not in near:
            end += 1
        if end - at >= _SHORTEST_GAP:
            shown.append(PairLine(lines[at].offset, left_out=sum(len(line.b) for line in lines[at:end])))
        else:
            shown += lines[at:end]
        if end < len(lines):
            shown.append(lines[end])
        at = end + 1
    return tuple(shown)


def _line(pages: BothPages, start: int, end: int) -> PairLine:
    one, other = ((side.data or b"")[start:end] for side in (pages.a, pages.b))
    return PairLine(start, one, other, pages.marks(start, end))
