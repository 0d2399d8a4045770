"""The bundled program: a crystal that grows in its memory, one cell at a time. It is a process of its own and knows nothing of lamina.

Each cell has a page of memory to itself, so that what an incremental dump writes can be counted by eye. The first word of the page is the
step in which the cell froze, 0 while it is empty. The page before the first cell holds the step and the number of times that the crystal
has melted and begun again.

It prints where its cells are in one line on standard output, then closes that: an open pipe to another process could not be dumped.
"""

import os
import random
import sys
import time
from array import array
from pathlib import Path

COLUMNS, ROWS = 16, 14
CELLS = COLUMNS * ROWS
WORDS = 4096 // 8
STEP_S = 0.3


def main() -> None:
    """Announce the cells and let the crystal grow until the parent is gone."""
    Path("/proc/self/comm").write_text("crystal")
    os.chdir("/")
    memory = array("Q", bytes(8 * WORDS * (CELLS + 2)))
    address = memory.buffer_info()[0]
    first = -address % 4096 // 8
    print(f"cells {address + 8 * first:#x} {COLUMNS} {ROWS}", flush=True)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    parent = os.getppid()
    chance = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    while os.getppid() == parent:
        grow(memory, first, chance)
        time.sleep(STEP_S)


def grow(memory: "array[int]", first: int, chance: random.Random) -> None:
    """One step: one more cell next to the crystal freezes; when it fills the field it melts."""
    memory[first] += 1
    frozen = [at for at in range(CELLS) if memory[first + WORDS * (1 + at)]]
    rim = sorted({near for at in frozen for near in neighbours(at) if not memory[first + WORDS * (1 + near)]})
    if not frozen:
        rim = [CELLS // 2 + COLUMNS // 2]
    if len(frozen) * 100 >= CELLS * 85:
        memory[first + 1] += 1
        for at in frozen:
            memory[first + WORDS * (1 + at)] = 0
        return
    # The fewer frozen neighbours, the likelier: this makes branches rather than a blot.
    weights = [1.0 / sum(memory[first + WORDS * (1 + near)] > 0 for near in neighbours(at)) ** 2 if frozen else 1.0 for at in rim]
    memory[first + WORDS * (1 + chance.choices(rim, weights)[0])] = memory[first]


def neighbours(at: int) -> list[int]:
    """The cells left, right, above and below."""
    column, row = at % COLUMNS, at // COLUMNS
    around = [(column - 1, row), (column + 1, row), (column, row - 1), (column, row + 1)]
    return [x + COLUMNS * y for x, y in around if 0 <= x < COLUMNS and 0 <= y < ROWS]


if __name__ == "__main__":
    main()
